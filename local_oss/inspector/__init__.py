"""The inspector: pages that show a developer what this local OSS was asked and what it answered."""
