"""The client of JobQueue: enqueue, read and cancel jobs, and run them."""

__version__ = "0.1.0"
