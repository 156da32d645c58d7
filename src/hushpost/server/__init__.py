"""The server's own machinery: what every listener needs, whatever protocol it speaks."""
