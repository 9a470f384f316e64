"""Several server processes on the same ports: `--processes N`."""
