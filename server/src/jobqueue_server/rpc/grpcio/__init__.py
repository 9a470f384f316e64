"""gRPC by `grpc.aio.server`. What it can't keep of what `http2` does is in docs/engines.md."""
