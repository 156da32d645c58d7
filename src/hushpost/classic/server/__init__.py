"""The classic server: gateway, deliveries, uploads, and taking over the server that came before."""
