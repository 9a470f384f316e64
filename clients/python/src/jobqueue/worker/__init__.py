"""The worker runtime: handlers for kinds of jobs, run over one stream to a server.

The way of a job: `stream` receives its delivery on a thread of gRPC; `session` makes a `Lease` of it on the session's
thread (`engine`) and gives it to the runner of its handler's style (`loop_runner`, `thread_runner`, `process_runner`);
`ending` makes an outcome of what the handler returned or raised; `settlements` keeps that until the server has answered
it. `link` holds the session on a stream: it connects, reconnects, moves and drains.
"""

from jobqueue.jobs import LeasedJob
from jobqueue.observer import Attempt, Observer

from .context import JobContext, Stop
from .logs import JobLogFilter, current_job
from .status import WorkerStatus
from .worker import Worker

__all__ = [
    "Attempt",
    "JobContext",
    "JobLogFilter",
    "LeasedJob",
    "Observer",
    "Stop",
    "Worker",
    "WorkerStatus",
    "current_job",
]
