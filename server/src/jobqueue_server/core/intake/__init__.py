"""A request becomes rows: lanes, checks, ids, shared inserts, idempotency keys."""
