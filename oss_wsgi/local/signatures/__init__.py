"""Checks of V1 and V4 signatures, in forms, headers and URLs."""
