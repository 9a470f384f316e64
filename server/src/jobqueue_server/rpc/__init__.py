"""gRPC: convert, call the core, render. The only package that knows grpc."""
