"""What queues allow of their jobs, and of those of one key, from messages and into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, cast

from jobqueue.v1 import queue_admin_pb2 as pb

from ..model import (
    MAX_RATE_COUNT,
    MAX_RATE_PERIOD,
    MAX_RETENTION_OF_A_QUEUE,
    MAX_RUNNING_OF_A_KEY,
    MAX_RUNNING_OF_A_QUEUE,
    MAX_WAITING,
    MAX_WAITING_OF_A_KEY,
    MIN_RATE_PERIOD,
    MIN_RETENTION_OF_A_QUEUE,
    NO_RETENTION,
    KeyPolicy,
    OnKeyFailure,
    QueueRetention,
    Rate,
)
from . import checks
from .checks import Problems
from .convert import set_span, span

MAX_ETAG_CHARS = 64
_MICROSECONDS = 1_000
_FIELDS = ("max_running", "rate", "order", "on_failure", "fair", "max_waiting", "require_key")
_WHOLE = "key_policy"
_WAITING = "max_waiting"
_ORDERS = dict(pb.KeyOrder.items())
_FAILURES = dict(pb.OnKeyFailure.items())
_MEANT = {int(each): each for each in OnKeyFailure}
#: Attributes of `model.KeyPolicy` that have another name than the field.
_ATTRIBUTES = {"order": "strict"}
_LIMITS = "limits"
_RUNNING = f"{_LIMITS}.max_running"
_RATE = f"{_LIMITS}.rate"
_PATHS = {f"{_WHOLE}.{name}": name for name in _FIELDS}
_RETENTION = "retention"
_Ended = Literal["succeeded", "failed_permanent", "cancelled"]
_ENDED: tuple[_Ended, ...] = ("succeeded", "failed_permanent", "cancelled")
_KEPT = {f"{_RETENTION}.{name}": name for name in _ENDED}
#: What UpdateQueue can change.
PATHS = (_WAITING, _LIMITS, _RUNNING, _RATE, _WHOLE, *_PATHS, _RETENTION, *_KEPT)


def changes(
    request: pb.UpdateQueueRequest, problems: Problems
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Checks and reads what is to be changed: new values of attributes of a `KeyPolicy`, and of the queue itself.

    If `problems` gets anything, the answer must not be used.
    """
    policy = request.queue.key_policy
    paths = list(request.update_mask.paths)
    if not paths:
        paths = [f"{_WHOLE}.{field.name}" for field, _ in policy.ListFields()]
        paths += [_WAITING] if request.queue.max_waiting else []
        paths += [f"{_LIMITS}.{field.name}" for field, _ in request.queue.limits.ListFields()]
        paths += [f"{_RETENTION}.{field.name}" for field, _ in request.queue.retention.ListFields()]
        if not paths and request.queue.paused:
            problems.add("queue.paused", "can't be changed here; PauseQueue and ResumeQueue change it")
        elif not paths:
            checks.no_change("queue", PATHS, problems)
    found: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for path in paths:
        if path == _WAITING:
            most = _number(
                request.queue.max_waiting, "queue.max_waiting", 0, MAX_WAITING, "0 for no limit", problems
            )
            own[_WAITING] = most or None
            continue
        if path in (_LIMITS, _RUNNING, _RATE):
            own.update(_limits(request.queue.limits, path, "queue.", problems))
            continue
        if path == _RETENTION or path in _KEPT:
            own.update(_kept(request.queue.retention, path, problems))
            continue
        names = _FIELDS if path == _WHOLE else [_PATHS[path]] if path in _PATHS else []
        if not names:
            _add_unknown(path, problems)
        for name in names:
            found[_ATTRIBUTES.get(name, name)] = _READ[name](policy, problems)
    return found, own


def limits_of(kind: pb.Kind, problems: Problems) -> Mapping[str, Any]:
    """What a kind allows of all its jobs together: `max_running` and `rate`.

    If `problems` gets anything, the answer must not be used.
    """
    return dict(_limits(kind.limits, _LIMITS, "kind.", problems))


def _limits(
    limits: pb.Limits, path: str, of: str, problems: Problems
) -> Iterator[tuple[str, int | Rate | None]]:
    """What a queue or a kind allows of all its jobs together, as far as the path names it."""
    if path != _RATE:
        running, field = limits.max_running, f"{of}{_RUNNING}"
        most = _number(running, field, 0, MAX_RUNNING_OF_A_QUEUE, "0 for no limit", problems)
        yield "max_running", most or None
    if path != _RUNNING:
        has = limits.HasField("rate")
        yield "rate", _read_rate(limits.rate, f"{of}{_RATE}.", problems) if has else None


def _kept(retention: pb.Retention, path: str, problems: Problems) -> Iterator[tuple[str, timedelta | None]]:
    """How long the queue keeps jobs that ended, as far as the path names it."""
    for name in _ENDED if path == _RETENTION else [_KEPT[path]]:
        kept, value = None, getattr(retention, name)
        low, high = MIN_RETENTION_OF_A_QUEUE, MAX_RETENTION_OF_A_QUEUE
        if retention.HasField(name) and checks.duration(
            value, f"queue.{_RETENTION}.{name}", low, high, problems
        ):
            kept = span(value)
        yield f"{_RETENTION}_{name}", kept


def _add_unknown(path: str, problems: Problems) -> None:
    for rate in (f"{_WHOLE}.rate", _RATE):
        if path.startswith(f"{rate}."):
            problems.add("update_mask", f"names {path[:80]}, but a rate is changed as a whole: {rate}")
            return
    if path == "paused":
        problems.add("update_mask", "names paused, which PauseQueue and ResumeQueue change")
    else:
        checks.mask_path(path, PATHS, problems)


def _max_running(policy: pb.KeyPolicy, problems: Problems) -> int | None:
    field = "queue.key_policy.max_running"
    return _number(policy.max_running, field, 0, MAX_RUNNING_OF_A_KEY, "0 for no limit", problems) or None


def _max_waiting(policy: pb.KeyPolicy, problems: Problems) -> int | None:
    field = "queue.key_policy.max_waiting"
    return _number(policy.max_waiting, field, 0, MAX_WAITING_OF_A_KEY, "0 for no limit", problems) or None


def _require_key(policy: pb.KeyPolicy, problems: Problems) -> bool:
    return policy.require_key


def _strict(policy: pb.KeyPolicy, problems: Problems) -> bool:
    checks.enum(policy.order, _ORDERS, "queue.key_policy.order", problems)
    return policy.order == pb.KEY_ORDER_STRICT


def _on_failure(policy: pb.KeyPolicy, problems: Problems) -> OnKeyFailure:
    checks.enum(policy.on_failure, _FAILURES, "queue.key_policy.on_failure", problems)
    return _MEANT.get(policy.on_failure, OnKeyFailure.CONTINUE)


def _fair(policy: pb.KeyPolicy, problems: Problems) -> bool:
    return policy.fair


def _rate(policy: pb.KeyPolicy, problems: Problems) -> Rate | None:
    return _read_rate(policy.rate, "queue.key_policy.rate.", problems) if policy.HasField("rate") else None


def _read_rate(rate: pb.Rate, field: str, problems: Problems) -> Rate | None:
    count = _number(rate.count, f"{field}count", 1, MAX_RATE_COUNT, "", problems)
    burst = _number(rate.burst, f"{field}burst", 0, MAX_RATE_COUNT, "0 for the default", problems)
    if not rate.HasField("period"):
        problems.add(f"{field}period", "is required, such as 60s")
    elif checks.duration(rate.period, f"{field}period", MIN_RATE_PERIOD, MAX_RATE_PERIOD, problems):
        if rate.period.nanos % 1_000_000:
            problems.add(f"{field}period", "must be whole milliseconds")
        elif count > (most := rate.period.ToMilliseconds() * _MICROSECONDS):
            problems.add(f"{field}count", f"must be at most {most} in this period: one in each microsecond")
        else:
            return Rate(count, span(rate.period), burst or None)
    return None


def _number(value: int, field: str, low: int, high: int, zero: str, problems: Problems) -> int:
    if not low <= value <= high:
        problems.add(field, f"must be 1 to {high}" + (f", or {zero}" if zero else ""))
    return value


_READ = {
    "max_running": _max_running,
    "rate": _rate,
    "order": _strict,
    "on_failure": _on_failure,
    "fair": _fair,
    "max_waiting": _max_waiting,
    "require_key": _require_key,
}


def limits_message(max_running: int | None, rate: Rate | None) -> pb.Limits:
    """The message of what a queue or a kind allows of all its jobs together."""
    message = pb.Limits(max_running=max_running or 0)
    if rate is not None:
        _set_rate(message.rate, rate, rate.most_started_in_a_period)
    return message


def set_retention(message: pb.Queue, retention: QueueRetention) -> None:
    """Writes how long the queue keeps jobs that ended, where it says so."""
    if retention == NO_RETENTION:
        return
    for name in _ENDED:
        if (kept := getattr(retention, name)) is not None:
            set_span(getattr(message.retention, name), kept)


def _set_rate(message: pb.Rate, rate: Rate, most: int) -> None:
    message.count, message.burst, message.most_in_a_period = rate.count, rate.burst or 0, most
    set_span(message.period, rate.period)


def policy_message(policy: KeyPolicy) -> pb.KeyPolicy:
    """The message of a policy."""
    message = pb.KeyPolicy(
        max_running=policy.max_running or 0,
        max_waiting=policy.max_waiting or 0,
        require_key=policy.require_key,
    )
    if policy.strict:
        message.order = pb.KEY_ORDER_STRICT
        message.on_failure = cast("pb.OnKeyFailure.ValueType", int(policy.on_failure))
    if policy.fair:
        message.fair = True
    if policy.rate is not None:
        _set_rate(message.rate, policy.rate, policy.rate.most_in_a_period)
    return message
