"""Version 3, the client's side: its connection, its database, and the public library."""
