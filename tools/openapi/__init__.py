"""Makes the OpenAPI documents that the server hands out, of the .proto files and `proto/openapi.yaml`."""
