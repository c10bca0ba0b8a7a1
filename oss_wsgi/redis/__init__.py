"""Redis and Valkey: the client that the ledger and the rate limit share."""
