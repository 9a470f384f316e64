"""The traces of a server. Only where it has some, OpenTelemetry is imported."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from .. import __version__, logs
from .calls import Traces
from .choice import choice_of

_log = logs.get(__name__)


def traces_of(environ: Mapping[str, str], up: AsyncExitStack, *, server: str) -> Traces | None:
    """The traces of a server; None where none are asked for, or what makes them is not installed.

    Args:
        environ: The variables of its process.
        up: Ends them, with the server.
        server: Its name.
    """
    choice = choice_of(environ)
    if choice is None:
        return None
    try:
        from .otel import OtelTraces
    except ImportError as error:
        _log.warning("traces are asked for: install jobqueue-server[otel]", missing=error.name)
        return None
    _log.info("traces are on", share=choice.share)
    traces = OtelTraces.exporting(choice, environ, server=server, version=__version__)
    up.push_async_callback(traces.stop)
    return traces
