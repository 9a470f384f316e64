"""Tests of all parts."""

import os

# gRPC runs handlers in every forked child, where it has threads, and now and then one dies of that before it has become
# the program that it was to be. What imports gRPC reads this, so it is set before all.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
