"""Faults on purpose: servers, workers and databases are killed, stopped and cut off, and the history is checked."""

import os

# Before gRPC is imported: it would write into the progress of `make faults` that connections break, as they should.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
