"""The client of this process."""

from __future__ import annotations

import os
import threading

from jobqueue import SyncClient

from . import conf

_lock = threading.Lock()
_client: SyncClient | None = None
_process = 0


def client() -> SyncClient:
    """The SyncClient of this process, made at the first call. It connects at its own first call.

    A process that was forked makes one of its own. That works if its parent has not called a server before the fork:
    gRPC does not work in a process that was forked later than that.
    """
    global _client, _process
    with _lock:
        if _client is None or _process != os.getpid():
            access = conf.access()
            _client = SyncClient(
                access.server,
                credentials=access.credentials,
                token=access.token,
                middleware=conf.middleware(),
            )
            _process = os.getpid()
        return _client


def forget() -> None:
    """Closes the client of this process. The next call of `client` makes another one, by the settings of then."""
    global _client
    with _lock:
        gone, _client = _client, None
    if gone is not None and _process == os.getpid():
        gone.close()
