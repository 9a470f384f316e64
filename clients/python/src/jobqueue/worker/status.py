"""What a worker does now: the value for callers, and the book in which the session's thread writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

from jobqueue.observer import Observing

from .clock import Clock
from .logs import log

State = Literal["starting", "serving", "reconnecting", "draining", "ended", "refused"]

# Of a session that no Welcome has told its ttl yet.
DEFAULT_TTL = 30.0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker does now, by its own clock.

    Attributes:
        state: `starting` before the first Welcome; `serving`; `reconnecting` after a lost stream; `draining` from
            SIGTERM or `stop` on; `ended` after `run` or `serve` returned; `refused`: the server refused the worker for
            a reason that a retry does not mend, such as its credentials.
        server: Name and version of the server of the newest stream. Empty: none yet.
        session: The number of the newest session. 0: none yet.
        since: When the state began.
        last_heard: When the newest frame of a server came. None: none yet.
        slots: How many jobs the worker takes at most now. 0 while it is paused.
        running: How many handlers run.
        orphans: How many of these belong to a session that is over. They take up slots.
        kinds: The kinds that have a handler here, in order.
        unknown_kinds: Those of them that are not declared at the server: no job of them can be enqueued.
        last_error: The newest reason why there was no stream, or with which the worker ended. Empty: none yet.
        observer_dropped: How many calls of the observer were left out because it was too slow.
    """

    state: State
    server: str
    session: int
    since: datetime
    last_heard: datetime | None
    slots: int
    running: int
    orphans: int
    kinds: tuple[str, ...]
    unknown_kinds: tuple[str, ...]
    last_error: str
    observer_dropped: int

    def as_json(self) -> dict[str, Any]:
        """The same for JSON: times as RFC 3339, None before there is one."""
        fields = asdict(self)
        for name in ("since", "last_heard"):
            fields[name] = None if fields[name] is None else fields[name].isoformat().replace("+00:00", "Z")
        return fields


class StatusBook:
    """The state of a worker, from its start to its end. The session's thread writes it; any thread may read.

    Args:
        kinds: The kinds that have a handler.
        slots: How many jobs run at once.
        observing: Tells the observer when state, session or unknown kinds have changed. None: there is none.

    Attributes:
        ttl: How long the worker may be silent, in seconds.
        ticked: When the session's loop was last seen to run, by `Clock.monotonic`.
        failed: Whether the worker has ended with an error.
        heard: When the newest frame came, by `Clock.monotonic`. None: none yet.
        counts: Answers slots, running and orphans.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        slots: int,
        observing: Observing | None = None,
    ) -> None:
        self._value = WorkerStatus("starting", "", 0, Clock.now(), None, slots, 0, 0, tuple(kinds), (), "", 0)
        self._observing = observing
        self._lost_at: float | None = None
        self.ttl = DEFAULT_TTL
        self.ticked = Clock.monotonic()
        self.failed = False
        self.heard: float | None = None
        self.counts: Callable[[], tuple[int, int, int]] = lambda: (slots, 0, 0)

    def status(self) -> WorkerStatus:
        """The status now."""
        slots, running, orphans = self.counts()
        heard = self.heard
        return replace(
            self._value,
            last_heard=None if heard is None else _ago(Clock.monotonic() - heard),
            slots=slots,
            running=running,
            orphans=orphans,
            observer_dropped=0 if self._observing is None else self._observing.dropped,
        )

    @property
    def alive(self) -> bool:
        """Whether the session's loop ran within the ttl, 30 s at least, and no error has ended it."""
        return not self.failed and Clock.monotonic() - self.ticked <= max(self.ttl, DEFAULT_TTL)

    @property
    def ready(self) -> bool:
        """Whether it serves, or lost its stream less than a ttl ago."""
        state, lost_at = self._value.state, self._lost_at
        if state == "reconnecting" and lost_at is not None:
            return Clock.monotonic() - lost_at < self.ttl
        return state == "serving"

    def welcomed(self, server: str, session: int, ttl: float, unknown_kinds: Sequence[str]) -> None:
        """There is a stream. Warns of kinds that are not declared, once for each set of them."""
        self.ttl = ttl
        self.heard = Clock.monotonic()
        self._lost_at = None
        unknown = tuple(unknown_kinds)
        if unknown and unknown != self._value.unknown_kinds:
            log.warning(
                "the server knows no kind %s: no job of it can be enqueued; "
                "declare it by sync_kinds or PutKind (jobqueue kinds put %s)",
                ", ".join(f'"{kind}"' for kind in unknown),
                unknown[0],
            )
        self._set("serving", server=server, session=session, unknown_kinds=unknown)

    def lost(self) -> None:
        """There is no stream any more."""
        if self._lost_at is None:
            self._lost_at = Clock.monotonic()
        self._set("reconnecting")

    def failing(self, error: BaseException | str, *, refused: bool = False) -> None:
        """There is no stream, for this reason; `refused`: for one that a retry does not mend."""
        if refused:
            self._set("refused", last_error=str(error))
        elif self._lost_at is not None:
            self._set("reconnecting", last_error=str(error))
        else:
            self._set(self._value.state, last_error=str(error))

    def draining(self) -> None:
        """The worker takes no more jobs."""
        self._set("draining")

    def ended(self, error: BaseException | None) -> None:
        """The worker serves no longer. One that was refused stays so."""
        _, running, orphans = self.counts()
        self.counts = lambda: (0, running, orphans)
        if error is not None:
            self.failed = True
            self._set(
                self._value.state if self._value.state == "refused" else "ended",
                last_error=f"{type(error).__name__}: {error}",
            )
        else:
            self._set("ended")

    def _set(self, state: State, **more: Any) -> None:
        before = self._value
        if before.state in ("draining", "ended") and state != "ended":
            state = before.state  # a drain goes on over another stream
        since = before.since if state == before.state else Clock.now()
        self._value = replace(before, state=state, since=since, **more)
        if self._observing is not None and _told(before) != _told(self._value):
            self._observing.tell(self._observing.observer.session_changed, self.status())


def _told(status: WorkerStatus) -> tuple[object, ...]:
    return status.state, status.server, status.session, status.unknown_kinds


def _ago(seconds: float) -> datetime:
    return Clock.of(Clock.time() - seconds)
