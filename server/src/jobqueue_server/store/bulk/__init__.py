"""Changes of jobs for callers: of one, and of many by operations and the statements of their steps."""
