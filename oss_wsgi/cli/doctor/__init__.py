"""The `doctor` command: checks of settings, bucket and callback."""
