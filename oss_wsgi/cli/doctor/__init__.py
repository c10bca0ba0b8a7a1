"""The `doctor` command: its checks, and what they share."""
