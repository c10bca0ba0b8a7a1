"""Tests of the Django application."""
