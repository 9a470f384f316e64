"""`jobqueue-server ephemeral`: a server for tests, which ends with its callers and whose data end with it."""
