"""The fast path over gRPC: enqueues that say little, without a task and without messages for the answers."""
