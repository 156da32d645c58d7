"""What the server of version 3 keeps, built on the stores that the classic protocol uses, too."""
