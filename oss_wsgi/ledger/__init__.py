"""Ledgers: which uploads were handled, and the answers they got."""
