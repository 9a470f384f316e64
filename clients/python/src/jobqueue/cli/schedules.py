"""The commands about schedules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Annotated, Any, TypeVar
from uuid import uuid4

import typer

from jobqueue import (
    EtagMismatch,
    NewJob,
    Operation,
    Overlap,
    RunOutcome,
    Schedule,
    SchedulePolicy,
    ScheduleRun,
    ScheduleSpec,
    SyncClient,
)

from . import json_text, show, show_schedules, values
from .exits import Exit, Refused
from .operations import end, follow, tell
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected, group
from .schedule_options import (
    Clear,
    Given,
    OverlapChoice,
    changed_job,
    changed_spec,
    changes_job,
    changes_spec,
    job_options,
    policy_options,
    spec_options,
    taking,
)

app = typer.Typer(no_args_is_help=True)
Found = TypeVar("Found")

_PAGE = 1000
#: How often an update is tried anew that another one came before.
_TRIES = 5
#: What `run` says where nothing was enqueued.
_NOT_FIRED = {
    RunOutcome.SKIPPED_OVERLAP: "skipped: a job of it has not ended; --overlap allow fires beside it",
    RunOutcome.BUFFERED: "it waits for the end of a job of it",
    RunOutcome.REFUSED: "refused: the job does not fit any more",
}


@app.callback()
@group
def _schedules() -> None:
    """Schedules: jobs, and the times at which they are enqueued."""


_Name = Annotated[str, typer.Argument(help="The schedule's name.")]
_Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="The names of the schedules.")]
_Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="K=V", help="A mark to find the schedule by; may be repeated."),
]
_Etag = Annotated[
    str, typer.Option(help="Only if the schedule still has it, as `schedules get --json` told it.")
]
_Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
_All = Annotated[bool, typer.Option("--all", help="All of them, however many.")]


@app.command()
@command
@taking(spec=spec_options, job=job_options, policy=policy_options)
def create(
    name: Annotated[str, typer.Argument(help="Its name, such as nightly-report.")],
    spec: Callable[[], Given],
    job: Callable[[], Given],
    policy: Callable[[], Given],
    label: _Labels = None,
    paused: Annotated[
        bool, typer.Option("--paused", help="It has no ticks until `schedules resume`.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Make a schedule. Its first tick is the first one after now."""
    with connected(server, deadline, as_json) as client:
        when, what = spec(), job()
        _check_when(when)
        if "kind" not in what:
            raise Refused("--kind is missing: it says what sort of work the jobs are, such as send_email")
        made = client.schedules.create(
            name,
            changed_spec(ScheduleSpec(), when),
            changed_job(NewJob("", payload_json=b"null"), what),
            policy=SchedulePolicy(**policy()),
            labels=values.pairs(label or (), "--label"),
            paused=paused,
        )
        _print([made], as_json)


@app.command()
@command
def get(
    name: _Name, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Show a schedule: its job, its policy, its next ticks, and how it went."""
    with connected(server, deadline, as_json) as client:
        found = client.schedules.get(name)
        if as_json:
            _print([found], as_json)
        else:
            show_schedules.schedule(found)


@app.command("list")
@command
def list_schedules(
    kind: Annotated[str, typer.Option(help="Only those whose jobs are of this kind.")] = "",
    queue: Annotated[str, typer.Option(help="Only those whose jobs go into this queue.")] = "",
    paused: Annotated[
        bool | None, typer.Option("--paused/--not-paused", help="Only those that are, or are not.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Only with this label; may be repeated.")
    ] = None,
    limit: _Limit = 50,
    all: _All = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """List schedules by name, with their next tick and what became of the last one."""
    with connected(server, deadline, as_json) as client:
        found = client.schedules.list(
            kind=kind,
            queue=queue,
            paused=paused,
            labels=values.pairs(label or (), "--label"),
            page_size=_PAGE if all else min(limit + 1, _PAGE),
        )
        _first(found, None if all else limit, lambda first: _print(first, as_json))


@app.command()
@command
@taking(spec=spec_options, job=job_options, policy=policy_options)
def update(
    name: _Name,
    spec: Callable[[], Given],
    job: Callable[[], Given],
    policy: Callable[[], Given],
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="All its labels from now on; may be repeated."),
    ] = None,
    clear: Annotated[
        list[Clear] | None, typer.Option(help="Set this back to its default; may be repeated.")
    ] = None,
    etag: _Etag = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Change a schedule. What is not said stays. A change fires nothing, and catches nothing up."""
    with connected(server, deadline, as_json) as client:
        labels = values.pairs(label, "--label") if label else {} if Clear.LABELS in (clear or ()) else None
        kept = policy()
        changes: dict[str, Any] = {
            "policy": SchedulePolicy(**kept) if kept else None,
            "policy_fields": tuple(kept),
            "labels": labels,
        }
        when, what, cleared = spec(), job(), tuple(clear or ())
        if changes_spec(when, cleared) or changes_job(what, cleared):
            _print([_rewrite(client, name, when, what, cleared, etag, changes)], as_json)
        elif kept or labels is not None:
            _print([client.schedules.update(name, etag=etag, **changes)], as_json)
        else:
            raise Refused("nothing is to be changed; see `jobqueue schedules update --help`")


def _rewrite(
    client: SyncClient,
    name: str,
    when: Given,
    what: Given,
    clear: tuple[Clear, ...],
    etag: str,
    changes: dict[str, Any],
) -> Schedule:
    """Changes parts of what the server changes as a whole: reads it first, and writes it if it is still the same."""
    for left in reversed(range(_TRIES)):
        found = client.schedules.get(name)
        spec = changed_spec(found.spec, when, clear) if changes_spec(when, clear) else None
        job = None
        if changes_job(what, clear):
            if found.job.payload_json is None:
                # The headers aren't shown then either, and would be lost.
                raise Refused(
                    "the job can't be changed in part: your key does not show payloads and headers; "
                    "use one that does (see `jobqueue whoami`), or delete and create the schedule"
                )
            job = changed_job(found.job, what, clear)
        try:
            return client.schedules.update(name, spec=spec, job=job, etag=etag or found.etag, **changes)
        except EtagMismatch:
            if etag or not left:
                raise
    raise AssertionError("unreachable")


@app.command()
@command
def delete(
    names: _Names,
    etag: _Etag = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Delete schedules with their runs. Their jobs stay."""
    with connected(server, deadline, as_json) as client:
        if etag and len(names) > 1:
            raise Refused("--etag is that of one schedule, and several are named")
        for name in names:
            client.schedules.delete(name, etag=etag)


@app.command()
@command
def pause(
    names: _Names,
    note: Annotated[str, typer.Option(help="Why, for people.")] = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Stop schedules: they have no ticks until `resume`. Their jobs go on."""
    with connected(server, deadline, as_json) as client:
        _print([client.schedules.pause(name, note=note) for name in names], as_json)


@app.command()
@command
def resume(
    names: _Names, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Let paused schedules go on with their next tick. `backfill` fires what they missed."""
    with connected(server, deadline, as_json) as client:
        _print([client.schedules.resume(name) for name in names], as_json)


@app.command()
@command
def run(
    name: _Name,
    overlap: Annotated[
        OverlapChoice | None,
        typer.Option(help="While a job of it has not ended. Default: as its policy has it."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Fire a schedule now, also a paused one. The id of its job is printed.

    Where it is skipped or refused, the command ends with 6.
    """
    with connected(server, deadline, as_json) as client:
        # With an id of its own it is safe to send again.
        done = client.schedules.run(
            name, overlap=None if overlap is None else Overlap[overlap.name], request_id=str(uuid4())
        )
        if as_json:
            typer.echo(json_text.write(json_text.schedule_run(done)))
        elif done.job_id:
            typer.echo(done.job_id)
        said = ": ".join(filter(None, (_NOT_FIRED.get(done.outcome, ""), done.note)))
        if said and not as_json:
            typer.echo(f"{name}: {said}", err=True)
        if done.outcome not in (RunOutcome.FIRED, RunOutcome.BUFFERED):
            raise typer.Exit(Exit.CONFLICT)


@app.command()
@command
def backfill(
    name: _Name,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Ticks at this time and later.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Ticks before this time, which is not in the future."),
    ] = None,
    overlap: Annotated[
        OverlapChoice | None,
        typer.Option(help="While a job of it has not ended: allow or skip. Default: allow."),
    ] = None,
    per_second: Annotated[
        int, typer.Option(help="How many ticks a second. Default: as fast as it does no harm.")
    ] = 0,
    max_ticks: Annotated[int, typer.Option(help="After how many it is done. Default: all.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Fire all ticks of a span of the past, also those that have fired before.

    The ticks are counted first. It goes on when this command ends: see `jobqueue operations`.
    """
    with connected(server, deadline, as_json) as client:
        start_at, end_at = values.moment(start, "--from"), values.moment(until, "--to")
        if start_at is None or end_at is None:
            raise Refused("--from and --to are needed, such as --from 2030-01-30 --to 2030-01-31T18:00:00Z")

        def call(**more: Any) -> Operation:
            return client.schedules.backfill(
                name,
                start_at,
                end_at,
                overlap=None if overlap is None else Overlap[overlap.name],
                per_second=per_second,
                max_ticks=max_ticks,
                **more,
            )

        counted = call(validate_only=True)
        ticks = f"{counted.estimate:,}{' or more' if counted.estimate_capped else ''} ticks"
        nothing = not counted.estimate and not counted.estimate_capped
        if as_json and (nothing or not yes):
            # A script that wants more than the count says so.
            typer.echo(json_text.write(json_text.operation(counted)))
            return
        if not as_json:
            show.line(
                f"{ticks} of {name} from {show_schedules.moment(start_at)} to {show_schedules.moment(end_at)}"
            )
        if nothing:
            return
        if not yes:
            if not sys.stdin.isatty():
                raise Refused("there is no terminal to ask at: give --yes to fire them")
            if not typer.confirm(f"Fire {ticks}?"):
                raise typer.Exit(0)
        # With an id of its own it is safe to send again.
        begun = call(request_id=str(uuid4()))
        found = client.wait_operation(begun.name) if as_json else follow(client, begun)
        tell(found, as_json)
        end(found)


@app.command()
@command
@taking(spec=spec_options)
def preview(
    spec: Callable[[], Given],
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A schedule, as it is or with what is given.")
    ] = "",
    count: Annotated[int, typer.Option(min=1, max=100, help="How many ticks.")] = 10,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Ticks after this time. Default: now.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Show the next ticks with their offsets, and where a change of clocks decided one. Nothing is made."""
    with connected(server, deadline, as_json) as client:
        when = spec()
        if not name:
            _check_when(when, "name a schedule, or give --cron such as '30 2 * * *', or --every such as 10m")
        base = client.schedules.get(name).spec if name else ScheduleSpec()
        moment = values.moment(since, "--from")
        found = client.schedules.preview(changed_spec(base, when), count=count, since=moment)
        if as_json:
            for each in found:
                typer.echo(json_text.write(json_text.schedule_tick(each)))
        else:
            show_schedules.ticks(found)
            if len(found) < count:
                typer.echo("There are no more within 10 years.", err=True)


@app.command()
@command
def runs(
    name: _Name,
    limit: _Limit = 50,
    all: _All = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """List what became of the ticks of a schedule and of its runs by hand, the newest first."""
    with connected(server, deadline, as_json) as client:
        found = client.schedules.runs(name, page_size=_PAGE if all else min(limit + 1, _PAGE))
        _first(found, None if all else limit, lambda first: _print_runs(first, as_json))


def _check_when(
    given: Given, what: str = "give --cron such as '30 2 * * *', or --every such as 10m, for when it is due"
) -> None:
    if "cron" not in given and "every" not in given:
        raise Refused(what)


def _first(found: Iterator[Found], limit: int | None, tell: Callable[[Iterable[Found]], None]) -> None:
    """Tells the first of them, and that there are more."""
    tell(islice(found, limit))
    if limit is not None and next(found, None) is not None:
        typer.echo(f"There are more than {limit}: --limit N, or --all.", err=True)


def _print_runs(found: Iterable[ScheduleRun], as_json: bool) -> None:
    if as_json:
        for each in found:
            typer.echo(json_text.write(json_text.schedule_run(each)))
    else:
        show_schedules.runs(found)


def _print(found: Iterable[Schedule], as_json: bool) -> None:
    if as_json:
        for each in found:
            typer.echo(json_text.write(json_text.schedule(each)))
    else:
        show_schedules.schedules(found)
