"""Whether a server has traces, by OpenTelemetry's own variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .. import logs

_log = logs.get(__name__)

#: Each of them turns traces on.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SAMPLER, _ARGUMENT = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
# What becomes of calls whose callers say nothing; None: as the argument says. Who says something, is followed.
_SHARES: Mapping[str, float | None] = {
    "": 0.0,
    "parentbased_always_off": 0.0,
    "parentbased_always_on": 1.0,
    "parentbased_traceidratio": None,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the variables ask for.

    Attributes:
        share: Which share of the calls without a `traceparent` begins a trace.
        old_names: Whether attributes of remote calls are sent under their old names too.
    """

    share: float
    old_names: bool


def choice_of(environ: Mapping[str, str]) -> Choice | None:
    """What these variables ask for; None: no traces."""
    if not any(environ.get(name) for name in ENDPOINTS):
        return None
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    sampler = environ.get(_SAMPLER, "").strip().lower()
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none" or sampler == "always_off":
        return None
    protocol = next((value for name in _PROTOCOLS if (value := environ.get(name))), "http/protobuf")
    if protocol != "http/protobuf":
        _log.warning("traces go by http/protobuf, whatever the variable says", protocol=protocol)
    opted = {part.strip() for part in environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")}
    return Choice(_share(sampler, environ.get(_ARGUMENT, "")), "rpc/dup" in opted)


def _share(sampler: str, argument: str) -> float:
    if sampler not in _SHARES:
        _log.warning(
            "a sampler is not known, or does not follow callers; only who is sampled by its caller has a span",
            sampler=sampler,
        )
        return 0.0
    share = _SHARES[sampler]
    if share is not None:
        return share
    try:
        share = float(argument or "1")
    except ValueError:
        share = -1.0
    if 0.0 <= share <= 1.0:
        return share
    _log.warning("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1; no trace begins here", argument=argument)
    return 0.0
