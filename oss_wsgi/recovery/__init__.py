"""Recovery of uploads whose callback did not arrive: found in the bucket, proved by ticket or receipt, handled once."""
