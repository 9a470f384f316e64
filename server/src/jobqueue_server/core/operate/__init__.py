"""What callers do to jobs that are there: cancel, retry, release, delete."""
