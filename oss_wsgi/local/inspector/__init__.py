"""The inspector: what this local OSS was asked and answered, as pages that a developer has open."""
