"""The fast path over HTTP: POST /v1/jobs that says little, without a task, byte for byte as the general path."""
