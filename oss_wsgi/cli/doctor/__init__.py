"""The `doctor` command, and a module for each family of its checks."""
