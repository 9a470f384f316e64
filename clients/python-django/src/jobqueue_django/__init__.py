"""JobQueue in Django: `enqueue_on_commit`, `client`, and `handler` for the `jobs.py` of an app.

Put `jobqueue_django` into INSTALLED_APPS, and say in JOBQUEUE where the server is.
"""

from .clients import client
from .enqueuing import enqueue_on_commit
from .handlers import handler

__version__ = "0.1.0"
__all__ = ["client", "enqueue_on_commit", "handler"]
