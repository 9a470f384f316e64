"""gRPC over HTTP/2 on the loop of everything else: frames, fields, connections, calls, and the server of them."""
