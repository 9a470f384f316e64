"""The operational paths: health, readiness, version, metrics and documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .. import __version__
from ..chain import DOCUMENTS, METRICS
from ..metrics import Metrics
from . import docs
from .answer import Answer, json_answer
from .ui import Dashboard

#: These paths do not pass the whole chain: they are answered during a drain, and under any load.
PATHS = ("/health", "/healthz", "/readyz", "/version", "/metrics", *docs.PATHS)
#: Those of them that pass the access step, each as the method that stands for it. The others need no credentials.
GUARDED = {"/metrics": METRICS, **dict.fromkeys(("/version", *docs.PATHS), DOCUMENTS)}


class Operations:
    """Answers `PATHS`.

    Args:
        metrics: The server's metrics.
        not_ready: Answers why the server accepts no work now; empty if it does.
        noted: What is to be known of a server that accepts work, by its name in the answer.
        dashboard: The page for browsers, whose paths are not among `PATHS`; by default there is none.

    Attributes:
        dashboard: The same.
    """

    def __init__(
        self,
        metrics: Metrics,
        not_ready: Callable[[], str],
        dashboard: Dashboard | None = None,
        noted: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._metrics = metrics
        self._not_ready = not_ready
        self._noted = noted
        self.dashboard = dashboard or Dashboard("off")

    def answer(self, path: str, metadata: Mapping[str, str], root: str = "") -> Answer | None:
        """The answer to GET of one of `PATHS`; None for another path."""
        match path:
            case "/health" | "/healthz":
                # The process answers, so it runs. It must not be restarted because its database is away.
                return json_answer(200, {"status": "ok"})
            case "/readyz":
                reason = self._not_ready()
                if reason:
                    return json_answer(503, {"status": "not ready", "reason": reason})
                return json_answer(200, {"status": "ready", **self._noted()})
            case "/version":
                return json_answer(200, {"name": "jobqueue-server", "version": __version__})
            case "/metrics":
                body, content_type = self._metrics.exposition(metadata.get("accept", ""))
                return Answer(200, body, content_type=content_type)
        return docs.answer(path, metadata, root) if path in docs.PATHS else None
