"""Interop: clients of other gRPC libraries against a test service on both engines (`make interop`)."""
