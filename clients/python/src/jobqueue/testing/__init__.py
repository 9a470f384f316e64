"""A handler alone, a client that keeps what is enqueued, and a real server with a namespace for each test."""

from .idle import AttemptFailed as AttemptFailed
from .idle import Idle as Idle
from .idle import Waiting as Waiting
from .performed import Performed as Performed
from .performed import Report as Report
from .performing import HandlerFailed as HandlerFailed
from .performing import StillRunning as StillRunning
from .performing import attempt as attempt
from .performing import perform as perform
from .recording import RecordingClient as RecordingClient
from .recording import SyncRecordingClient as SyncRecordingClient
from .scope import TestScope as TestScope
from .server import ServerMissing as ServerMissing
from .server import TestServer as TestServer
from .sync_scope import SyncTestScope as SyncTestScope

__all__ = [
    "AttemptFailed",
    "HandlerFailed",
    "Idle",
    "Performed",
    "RecordingClient",
    "Report",
    "ServerMissing",
    "StillRunning",
    "SyncRecordingClient",
    "SyncTestScope",
    "TestScope",
    "TestServer",
    "Waiting",
    "attempt",
    "perform",
]
