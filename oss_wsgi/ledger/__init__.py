"""Ledgers: which uploads were handled, and the responses that they got."""
