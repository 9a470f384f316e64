"""What callers do to jobs that are there: one of them, or many by operations, and which server works on these."""
