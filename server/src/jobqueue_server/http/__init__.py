"""HTTP/JSON in front of the same core as gRPC, in the same process."""
