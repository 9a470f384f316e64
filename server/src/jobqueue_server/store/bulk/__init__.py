"""Changes of many jobs: operations, and the statements of their steps."""
