"""The options that say what a schedule is, for the commands that make, change and preview one."""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from jobqueue import (
    CatchUp,
    NewJob,
    OnConflict,
    Overlap,
    RetryPolicy,
    ScheduleSpec,
    UniqueField,
    UniqueScope,
    Until,
)

from . import values
from .exits import Refused

#: What was given, by the attribute that it is of.
Given = Mapping[str, Any]

_WHEN: Any = {"rich_help_panel": "When it is due"}
_JOB: Any = {"rich_help_panel": "The job that each tick enqueues"}
_UNIQUE: Any = {"rich_help_panel": "Where the job is to be done once"}
_POLICY: Any = {"rich_help_panel": "Ticks that meet a job, or are missed"}


class OverlapChoice(enum.StrEnum):
    """As `Overlap`."""

    ALLOW = "allow"
    SKIP = "skip"
    BUFFER_ONE = "buffer-one"


class CatchUpChoice(enum.StrEnum):
    """As `CatchUp`."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class Clear(enum.StrEnum):
    """What `update` can set back to its default."""

    STARTS_AT = "starts-at"
    ENDS_AT = "ends-at"
    JITTER = "jitter"
    MAX_ATTEMPTS = "max-attempts"
    TIMEOUT = "timeout"
    BACKOFF = "backoff"
    JOB_LABELS = "job-labels"
    HEADERS = "headers"
    JOB_KEY = "job-key"
    UNIQUE = "unique"
    LABELS = "labels"


_OF_SPEC: Given = {Clear.STARTS_AT: "starts_at", Clear.ENDS_AT: "ends_at", Clear.JITTER: "jitter"}
_OF_JOB: Mapping[Clear, tuple[str, Any]] = {
    Clear.MAX_ATTEMPTS: ("max_attempts", None),
    Clear.TIMEOUT: ("timeout", None),
    Clear.BACKOFF: ("retry_policy", None),
    Clear.JOB_LABELS: ("labels", None),
    Clear.HEADERS: ("headers", None),
    Clear.JOB_KEY: ("key", ""),
    Clear.UNIQUE: ("unique", None),
}


def taking(**groups: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of functions, and for each the argument of its name: what it makes of them."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        options = {name: inspect.signature(each, eval_str=True).parameters for name, each in groups.items()}

        def run(**given: Any) -> None:
            mine = {name: {key: given.pop(key) for key in options[name]} for name in groups}
            # Called, not made: a group refuses what is wrong where the command tells of it.
            function(**given, **{name: functools.partial(groups[name], **mine[name]) for name in groups})

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            taken = options[parameter.name].values() if parameter.name in groups else (parameter,)
            parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in taken]
        functools.update_wrapper(run, function)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def spec_options(
    cron: Annotated[
        list[str] | None,
        typer.Option(metavar="LINE", help="As '30 2 * * *'; may be repeated for a union.", **_WHEN),
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Of --cron, as Europe/Berlin. Default: Etc/UTC.", **_WHEN),
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Instead of --cron, as 10m.", **_WHEN)
    ] = None,
    phase: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Shifts the ticks of --every.", **_WHEN)
    ] = None,
    starts_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="No tick before. Default: from now on.", **_WHEN)
    ] = None,
    ends_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="No tick then or later. Default: for ever.", **_WHEN)
    ] = None,
    jitter: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Draw each start from so long after its tick.", **_WHEN),
    ] = None,
) -> Given:
    """The attributes of a ScheduleSpec that are given."""
    if cron and every is not None:
        raise Refused("--cron and --every are both given; a schedule is due by one of them")
    given = {
        "cron": tuple(cron) if cron else None,
        "time_zone": tz,
        "every": values.optional_duration(every, "--every"),
        "phase": values.optional_duration(phase, "--phase"),
        "starts_at": values.moment(starts_at, "--starts-at"),
        "ends_at": values.moment(ends_at, "--ends-at"),
        "jitter": values.optional_duration(jitter, "--jitter"),
    }
    return {name: value for name, value in given.items() if value is not None}


def job_options(
    kind: Annotated[str | None, typer.Option(help="What sort of work it is, as send_email.", **_JOB)] = None,
    payload: Annotated[
        str | None,
        typer.Option(metavar="JSON|-|@FILE", help="JSON, - for stdin, or a file. Default: null.", **_JOB),
    ] = None,
    queue: Annotated[
        str | None, typer.Option(help="The queue in which it waits. Default: default.", **_JOB)
    ] = None,
    priority: Annotated[
        int | None, typer.Option(help="-10..10; higher is taken first. Default: 0.", **_JOB)
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(help="How many failures end it. Default: the kind's, else 3.", **_JOB)
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long one attempt may run. Default: the kind's.", **_JOB),
    ] = None,
    min_backoff: Annotated[
        str | None, typer.Option(metavar="DURATION", help="The shortest wait after a failure.", **_JOB)
    ] = None,
    max_backoff: Annotated[
        str | None, typer.Option(metavar="DURATION", help="The longest wait after a failure.", **_JOB)
    ] = None,
    job_label: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="A mark to find the jobs by; may be repeated.", **_JOB),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Given to the handler; may be repeated.", **_JOB)
    ] = None,
    job_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="What it is about; its queue may limit jobs by it.", **_JOB),
    ] = None,
    hold: Annotated[
        bool | None,
        typer.Option("--hold/--no-hold", help="No worker gets it until `jobqueue release`.", **_JOB),
    ] = None,
    unique: Annotated[
        bool, typer.Option("--unique", help="Not beside a job of the same payload that waits.", **_UNIQUE)
    ] = False,
    unique_key: Annotated[
        str, typer.Option(metavar="NAME", help="Not beside a job of the same name that waits.", **_UNIQUE)
    ] = "",
    unique_field: Annotated[
        list[str] | None,
        typer.Option(metavar="POINTER", help="By this part of the payload; may be repeated.", **_UNIQUE),
    ] = None,
    scope: Annotated[
        UniqueScope | None,
        typer.Option(case_sensitive=False, help="Among which jobs. Default: its kind.", **_UNIQUE),
    ] = None,
    until: Annotated[
        Until | None,
        typer.Option(case_sensitive=False, help="What lets go of its name. Default: its start.", **_UNIQUE),
    ] = None,
    period: Annotated[
        str | None, typer.Option(metavar="DURATION", help="It keeps its name at least so long.", **_UNIQUE)
    ] = None,
    on_conflict: Annotated[
        OnConflict | None,
        typer.Option(
            case_sensitive=False, help="What becomes of the job. Default: keep the other.", **_UNIQUE
        ),
    ] = None,
    replace_field: Annotated[
        list[UniqueField] | None,
        typer.Option(
            "--replace", case_sensitive=False, help="What of the other to change; may be repeated.", **_UNIQUE
        ),
    ] = None,
) -> Given:
    """The attributes of a NewJob that are given."""
    how: dict[str, str | None] = {
        "scope": scope,
        "until": until,
        "period": period,
        "on_conflict": on_conflict,
    }
    once = None
    if unique or unique_key or unique_field:
        once = values.unique(
            lambda name: f"--{name.replace('_', '-')}",
            unique_field or (),
            replace_field or (),
            key=unique_key,
            **how,
        )
    elif replace_field or any(each is not None for each in how.values()):
        raise Refused(
            "--scope, --until, --period, --on-conflict and --replace want --unique, --unique-key or --unique-field"
        )
    given = {
        "kind": kind,
        "payload_json": None if payload is None else values.payload(payload),
        "queue": queue,
        "priority": priority,
        "max_attempts": max_attempts,
        "timeout": values.optional_duration(timeout, "--timeout"),
        "min_backoff": values.optional_duration(min_backoff, "--min-backoff"),
        "max_backoff": values.optional_duration(max_backoff, "--max-backoff"),
        "labels": values.pairs(job_label, "--job-label") if job_label else None,
        "headers": values.pairs(header, "--header") if header else None,
        "key": job_key,
        "hold": hold,
        "unique": once,
    }
    return {name: value for name, value in given.items() if value is not None}


def policy_options(
    overlap: Annotated[
        OverlapChoice | None,
        typer.Option(help="While a job of it has not ended. Default: buffer-one: one tick waits.", **_POLICY),
    ] = None,
    catch_up: Annotated[
        CatchUpChoice | None,
        typer.Option(help="Of ticks that were missed. Default: latest: the newest fires.", **_POLICY),
    ] = None,
    catch_up_window: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How old a missed tick may be. Default: 1h.", **_POLICY),
    ] = None,
    pause_after_failures: Annotated[
        int | None,
        typer.Option(metavar="N", help="Pause it after N failed jobs in a row; 0: never.", **_POLICY),
    ] = None,
    keep_runs: Annotated[
        int | None, typer.Option(metavar="N", help="How many of its runs are kept. Default: 100.", **_POLICY)
    ] = None,
) -> Given:
    """The attributes of a SchedulePolicy that are given."""
    given = {
        "overlap": None if overlap is None else Overlap[overlap.name],
        "catch_up": None if catch_up is None else CatchUp[catch_up.name],
        "catch_up_window": values.optional_duration(catch_up_window, "--catch-up-window"),
        "pause_after_failures": pause_after_failures,
        "keep_runs": keep_runs,
    }
    return {name: value for name, value in given.items() if value is not None}


def changed_spec(spec: ScheduleSpec, given: Given, clear: Iterable[Clear] = ()) -> ScheduleSpec:
    """A spec with what is given, and without what is cleared. Lines of cron and `every` take each other's place."""
    changes: dict[str, Any] = {_OF_SPEC[each]: None for each in clear if each in _OF_SPEC}
    if "cron" in given:
        changes |= {"every": None, "phase": None}
    if "every" in given:
        changes["cron"] = ()
    return replace(spec, **{**changes, **given})


def changed_job(job: NewJob, given: Given, clear: Iterable[Clear] = ()) -> NewJob:
    """A job with what is given, and without what is cleared."""
    changes = dict([_OF_JOB[each] for each in clear if each in _OF_JOB])
    backoff = {name: given[name] for name in ("min_backoff", "max_backoff") if name in given}
    if backoff:
        changes["retry_policy"] = replace(job.retry_policy or RetryPolicy(), **backoff)
    if "payload_json" in given:
        changes["payload"] = None  # one that could not be decoded stands there
    return replace(job, **{**changes, **{name: given[name] for name in given if name not in backoff}})


def changes_spec(given: Given, clear: Iterable[Clear]) -> bool:
    """Whether anything of the spec is changed."""
    return bool(given) or any(each in _OF_SPEC for each in clear)


def changes_job(given: Given, clear: Iterable[Clear]) -> bool:
    """Whether anything of the job is changed."""
    return bool(given) or any(each in _OF_JOB for each in clear)
