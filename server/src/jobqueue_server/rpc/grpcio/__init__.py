"""The engine `grpcio`: gRPC by `grpc.aio.server`. docs/engines.md says what it lacks, compared with `http2`."""
