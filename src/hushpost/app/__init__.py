"""The server's composition root: settings to stores to listeners; signals; shutdown."""
