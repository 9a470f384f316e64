"""The operational paths: whether the server lives, whether it takes work, what it is, its metrics and documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .. import __version__
from ..chain import DOCUMENTS, METRICS
from ..metrics import Metrics
from . import docs
from .answer import Answer, json_answer

#: They are answered outside of the chain: while the server drains, and whatever its load.
PATHS = ("/health", "/healthz", "/readyz", "/version", "/metrics", *docs.PATHS)
#: Those of them that pass the access step, each as the method that stands for it. The others need no credentials.
GUARDED = {"/metrics": METRICS, **dict.fromkeys(("/version", *docs.PATHS), DOCUMENTS)}


class Operations:
    """Answers `PATHS`.

    Args:
        metrics: The server's.
        not_ready: Why the server takes no work now; empty where it does.
    """

    def __init__(self, metrics: Metrics, not_ready: Callable[[], str]) -> None:
        self._metrics = metrics
        self._not_ready = not_ready

    def answer(self, path: str, metadata: Mapping[str, str], root: str = "") -> Answer | None:
        """The answer to GET, below the path where the application is mounted; None where it is not one of ours."""
        match path:
            case "/health" | "/healthz":
                # That it answers is the answer: a process whose database is away must not be restarted for that.
                return json_answer(200, {"status": "ok"})
            case "/readyz":
                reason = self._not_ready()
                if reason:
                    return json_answer(503, {"status": "not ready", "reason": reason})
                return json_answer(200, {"status": "ready"})
            case "/version":
                return json_answer(200, {"name": "jobqueue-server", "version": __version__})
            case "/metrics":
                body, content_type = self._metrics.exposition(metadata.get("accept", ""))
                return Answer(200, body, content_type=content_type)
        return docs.answer(path, metadata, root) if path in docs.PATHS else None
