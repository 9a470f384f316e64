"""Finds in a history what must never be: each rule is a generator of sentences, and silent where all is well."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status

from .history import History, Lease, StoredAttempt
from .journal import Event

# Both clocks are of one host; the database's has microseconds, and a journal's line is written just after the fact.
_TICK = 0.005
# An audit every 10 s looks at leases that are older than 10 s; the rest is for a machine that is busy.
_AUDITED_WITHIN = 25.0
# What the job itself explains: its handler failed, or asked for more time.
_OWN = frozenset({Exit.FAIL, Exit.SNOOZE, Exit.CANCELLED})
_EXITS = {
    "failure": Exit.FAIL,
    "cancellation": Exit.CANCELLED,
    "snooze": Exit.SNOOZE,
    "release": Exit.RELEASE,
}
_TAKEN = ("APPLIED", "ALREADY_APPLIED")
# After these a caller knows that nothing was stored; after every other error it does not.
_REFUSED = frozenset({"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"})


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be, under the name of its rule."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


def lost(history: History) -> Iterator[str]:
    """What was acknowledged is stored, and ends."""
    for id in history.acknowledged:
        job = history.jobs.get(id)
        if job is None:
            yield f"job {id} was acknowledged and is not in the database"
        elif history.all_over and not job.status.terminal:
            yield f"job {id} never ended: {job.status.name}, {job.attempts} attempts"


def unexpected(history: History) -> Iterator[str]:
    """What is stored and delivered is what somebody asked for, once for each call."""
    asked = Counter(event.token for event in history.of("enqueuing"))
    refused = {event.token for event in history.of("enqueued") if event.code in _REFUSED}
    stored = Counter(job.token for job in history.jobs.values())
    for job in history.jobs.values():
        if job.token not in asked:
            yield f"job {job.id} is stored, and nobody enqueued {job.token!r}"
        elif job.token in refused:
            yield f"job {job.id} is stored, and its enqueue was refused"
    for token, times in stored.items():
        if times > 1:
            yield f"{times} jobs are stored for the one call {token!r}"
    for id, answer in history.acknowledged.items():
        kept = history.jobs.get(id)
        if kept is not None and kept.token != answer.token:
            yield f"job {id} was the answer to {answer.token!r} and is that of {kept.token!r}"
    for event in history.of("delivered"):
        kept = history.jobs.get(event.id)
        if kept is None:
            yield f"{event.who} was handed job {event.id}, which is not in the database"
        elif kept.token != event.token:
            yield f"{event.who} was handed job {event.id} with the payload of {event.token!r}"


def overlapping_leases(history: History) -> Iterator[str]:
    """An attempt is handed out once, and none begins before the one before it has ended."""
    for lease, events in history.deliveries.items():
        if len(events) > 1:
            yield f"{_name(lease)} was handed to {' and '.join(_holder(event) for event in events)}"
    for (id, attempt), row in history.attempts.items():
        following = history.started_at((id, attempt + 1))
        if following is not None and following < row.ended_at - _TICK:
            yield f"{_name((id, attempt + 1))} began {row.ended_at - following:.3f} s before the end of the one before"


def stale_settlement_accepted(history: History) -> Iterator[str]:
    """A settlement that was taken came from the session that held the newest lease, and is what is stored."""
    newest: dict[str, list[Event]] = defaultdict(list)
    for event in history.of("delivered"):
        newest[event.id].append(event)
    sent = {(event.lease, event.session, event.outcome): event.at for event in history.of("settling")}
    for lease, events in history.settled.items():
        taken = [event for event in events if event.verdict in _TAKEN]
        for event in taken:
            at = sent.get((lease, event.session, event.outcome), event.at)
            later = [other for other in newest[lease[0]] if other.attempt > lease[1] and other.at < at]
            first = next((other for other in events if other.verdict in _TAKEN), event)
            # The same settlement sent again is told that it was applied, whenever it comes.
            if later and event is first and event.verdict == "APPLIED":
                yield f"{_name(lease)} was settled by {_holder(event)} after {_holder(later[0])} had a newer one"
            yield from _kept(history, lease, event)
        if len({event.outcome for event in taken}) > 1:
            yield f"{_name(lease)} was settled as {' and as '.join(event.outcome for event in taken)}"


def _kept(history: History, lease: Lease, event: Event) -> Iterator[str]:
    """Whether what was answered as applied is in the database, under the session that said it."""
    job, row = history.jobs.get(lease[0]), history.attempts.get(lease)
    if event.outcome == "success":
        ended = job is not None and (job.status, job.attempts, job.session) == (
            Status.SUCCEEDED, lease[1], event.session,
        )  # fmt: skip
        if not ended and not (row is not None and row.outcome is Exit.SUCCEED):
            yield f"{_name(lease)}: the success of {_holder(event)} was applied and is not stored"
    elif row is None or row.session != event.session or row.outcome is not _EXITS[event.outcome]:
        yield f"{_name(lease)}: the {event.outcome} of {_holder(event)} was applied and is not stored"


def early_redelivery(history: History) -> Iterator[str]:
    """No session is lost before its ttl is over since the last frame heard, and no attempt begins before its run_at."""
    for session in history.sessions.values():
        heard = history.heard.get(session.id)
        if session.ended_at is None or heard is None or session.id in history.left:
            continue
        if session.ended_at < heard + session.ttl - _TICK:
            early = heard + session.ttl - session.ended_at
            yield f"session {session.id} was ended {early:.3f} s before its ttl of {session.ttl:g} s was over"
    for lease, events in history.settled.items():
        for event in events:
            following = history.started_at((lease[0], lease[1] + 1))
            if following is not None and "run_at" in event.said and following < event.run_at - _TICK:
                yield f"{_name((lease[0], lease[1] + 1))} began {event.run_at - following:.3f} s before its run_at"


def terminal_changed(history: History) -> Iterator[str]:
    """An end that was seen is the end, unless an operator asks for a retry."""
    seen: dict[str, Event] = {}
    for event in history.of("terminal"):
        before = seen.get(event.id)
        if before is not None and before.last != event.last and not _retried(history, event.id, before.at):
            yield f"job {event.id} ended as {before.last} and then as {event.last}"
        seen[event.id] = event
    for id, event in seen.items():
        job = history.jobs.get(id)
        if _retried(history, id, event.at):
            continue
        if job is None or list(job.last) != list(event.last):
            yield f"job {id} ended as {event.last} and is now {'gone' if job is None else list(job.last)}"
    for event in history.of("delivered"):
        end = seen.get(event.id)
        if end is not None and end.at < event.at and not _retried(history, event.id, end.at):
            yield f"{event.who} was handed {_name(event.lease)} after its end"


def unexplained_duplicate(history: History) -> Iterator[str]:
    """Each attempt beyond the first has its reason, and the reason is one that this case can give."""
    for job in history.jobs.values():
        for attempt in range(1, job.attempts):
            row = history.attempts.get((job.id, attempt))
            if row is None:
                yield f"job {job.id} had attempt {attempt + 1}, and nothing says why {attempt} was not the last"
            elif row.outcome not in _OWN | history.explained and row.outcome is not Exit.SUCCEED:
                yield f"{_name((job.id, attempt))} ended as {row.outcome.name}, for which there was no reason here"
    starts = Counter(event.lease for event in history.of("started"))
    for lease, times in starts.items():
        if times > 1:
            yield f"{_name(lease)} was started {times} times"
    told = {event.lease for event in history.of("told") if event.action == "revoke"}
    for event in history.of("welcome"):
        told.update((id, attempt) for id, attempt in event.revoked)
    for lease, row in history.attempts.items():
        if (
            row.outcome is Exit.UNDELIVERED
            and lease in starts
            and not _over(history, row)
            and lease not in told
        ):
            yield f"{_name(lease)} went back as undelivered, and its handler had started"


def _over(history: History, row: StoredAttempt) -> bool:
    """Whether it went back because its session ended: whatever that was running is lost with it."""
    session = history.sessions.get(row.session or 0)
    return session is not None and session.ended_at is not None and session.ended_at <= row.ended_at + _TICK


def lease_that_nobody_holds(history: History) -> Iterator[str]:
    """Every leased job is in the hands of a worker that was given it."""
    given: Mapping[Lease, set[int]] = {
        lease: {event.session for event in events} for lease, events in history.deliveries.items()
    }
    over = {
        lease for lease, events in history.settled.items() if any(event.verdict in _TAKEN for event in events)
    }
    for job in history.jobs.values():
        if job.status is not Status.RUNNING or job.session is None or (job.leased_for or 0) < _AUDITED_WITHIN:
            continue
        lease = (job.id, job.attempts)
        session = history.sessions.get(job.session)
        if session is None or session.ended_at is not None:
            yield f"{_name(lease)} is leased to session {job.session}, which has ended"
        elif job.session not in given.get(lease, ()):
            yield f"{_name(lease)} is leased to session {job.session}, which was never given it"
        elif lease in over:
            yield f"{_name(lease)} is leased to session {job.session}, whose settlement was applied"


def over_credit(history: History) -> Iterator[str]:
    """No session is handed more than its slots, less what it holds."""
    slots: Counter[str] = Counter()
    held: dict[str, set[Lease]] = defaultdict(set)
    for event in history.events:
        mine = held[event.who]
        if event.what == "capacity":
            # One that was lowered counts from when the server knows of it; the highest is never passed.
            slots[event.who] = max(slots[event.who], event.slots)
        elif event.what == "welcome":
            mine &= {(id, attempt) for id, attempt in event.kept}
        elif event.what == "settling" or (event.what == "told" and event.action == "revoke"):
            mine.discard(event.lease)
        elif event.what == "settled" and event.verdict == "TRY_AGAIN":
            mine.add(event.lease)
        elif event.what == "delivered":
            mine.add(event.lease)
            if len(mine) == slots[event.who] + 1:
                yield f"{event.who} holds {len(mine)} leases and has {slots[event.who]} slots"


def _retried(history: History, id: str, since: float) -> bool:
    return any(at >= since for at in history.retried.get(id, ()))


def _name(lease: Lease) -> str:
    return f"attempt {lease[1]} of job {lease[0]}"


def _holder(event: Event) -> str:
    return f"{event.who} (session {event.session})"


RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    lost,
    unexpected,
    overlapping_leases,
    stale_settlement_accepted,
    early_redelivery,
    terminal_changed,
    unexplained_duplicate,
    lease_that_nobody_holds,
    over_credit,
)


def check(history: History) -> list[Violation]:
    """Everything in a history that must not be; empty where all is well."""
    return [Violation(rule.__name__.replace("_", " "), text) for rule in RULES for text in rule(history)]
