"""Checks of signatures V1 and V4 in forms, headers and URLs."""
