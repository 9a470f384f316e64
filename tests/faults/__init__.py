"""Faults on purpose: servers, workers and databases are killed, stopped and cut off, and the history is checked."""

import os

# Before gRPC is imported: it would write into the progress of `make faults` that connections break, as they should.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# gRPC runs handlers in every forked child, where it has threads, and now and then one dies of that before it has become
# the PostgreSQL that it was to be.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
