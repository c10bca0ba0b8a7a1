"""Recovery: finds uploads whose callback did not arrive, proves them by ticket or receipt, and has them handled."""
