"""The client of JobQueue: enqueue, read and cancel jobs, and run them."""

from .outcomes import Cancelled, Discard, Retry, Snooze

__all__ = ["Cancelled", "Discard", "Retry", "Snooze"]

__version__ = "0.1.0"
