"""The worker as a service: the built-in or simulated handlers, the operator's handlers, and metrics."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import grpc

from jobqueue import Worker, tls_credentials

from . import user_handlers
from .handlers import Handler, builtin
from .metrics import WorkerEndpoint, WorkerMetrics, split_address
from .settings import WorkerSettings
from .simulator import simulated

_log = logging.getLogger(__name__)


class WorkerService(Worker):
    """The service `jobqueue-worker`. `run()` serves until a signal, which drains.

    A handler of the operator replaces the built-in handler of its kind.

    Args:
        settings: The operator's settings.

    Raises:
        HandlersUnusable: `handlers` names something that can't be used.
        EndpointUnusable: `metrics_bind_addr` is not an address.
        ValueError: Another setting can't be used.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._metrics = WorkerMetrics()
        self._endpoint = WorkerEndpoint(self._metrics.registry)
        self._close: Callable[[], Awaitable[None]] | None = None
        split_address(settings.metrics_bind_addr)
        theirs = user_handlers.load(settings.handlers)
        own = {handler.kind for handler in theirs}
        super().__init__(
            settings.server,
            credentials=_tls(settings),
            token=None if settings.token is None else settings.token.get_secret_value(),
            session_ttl=settings.session_ttl,
            queues=settings.queues,
            concurrency=settings.concurrency,
            name=settings.worker_name,
            handlers={kind: handler for kind, handler in self._ours().items() if kind not in own},
            shutdown_grace=settings.shutdown_grace,
            observer=self._metrics,
        )
        for each in theirs:
            self.handlers.adopt(each)

    def _ours(self) -> dict[str, Handler]:
        if self._settings.simulate:
            return simulated()
        handlers = builtin(self._settings)
        self._close = handlers.close
        return handlers

    async def serve(self) -> None:
        """Serves until `stop`, with metrics. Then closes the handlers' connections and processes.

        Raises:
            EndpointUnusable: No port is free for the metrics.
            JobQueueError: As `Worker.serve`.
        """
        url = self._endpoint.start(self._settings.metrics_bind_addr)
        _log.info("metrics are served on %s", url)
        _log.info(
            "worker %s takes %s from queue %s of %s, %d at a time%s",
            self._settings.worker_name,
            ", ".join(self.handlers.kinds()),
            ", ".join(self._settings.queues),
            self._settings.server,
            self._settings.concurrency,
            "; simulating" if self._settings.simulate else "",
        )
        try:
            await super().serve()
        finally:
            if self._close is not None:
                await self._close()
            self._endpoint.stop()
        _log.info("worker %s has ended", self._settings.worker_name)


def _tls(settings: WorkerSettings) -> grpc.ChannelCredentials | None:
    cert, key = settings.tls_client_cert, settings.tls_client_key
    if settings.tls_roots is not None:
        return tls_credentials(settings.tls_roots, client_cert=cert, client_key=key)
    if cert is not None or key is not None:
        raise ValueError("JOBQUEUE_TLS_CLIENT_CERT and JOBQUEUE_TLS_CLIENT_KEY need JOBQUEUE_TLS_ROOTS")
    return None
