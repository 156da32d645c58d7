"""What the server keeps. `base` is the interface and its promises; everyone else implements it."""
