"""Ledgers: they store which uploads were handled, and the response to each."""
