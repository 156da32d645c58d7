"""Files on their way: whatever breaks, the same call goes on where it was. See docs/spec/files.md."""
