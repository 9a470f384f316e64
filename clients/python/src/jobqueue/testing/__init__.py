"""A handler alone, by the code that a worker runs, without a server; and a client that keeps what is enqueued."""

from .performed import Performed as Performed
from .performed import Report as Report
from .performing import HandlerFailed as HandlerFailed
from .performing import StillRunning as StillRunning
from .performing import attempt as attempt
from .performing import perform as perform
from .recording import RecordingClient as RecordingClient
from .recording import SyncRecordingClient as SyncRecordingClient

__all__ = [
    "HandlerFailed",
    "Performed",
    "RecordingClient",
    "Report",
    "StillRunning",
    "SyncRecordingClient",
    "attempt",
    "perform",
]
