"""The classic client: a library without user interface, and its menu and self-test."""
