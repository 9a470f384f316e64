"""The commands about kinds."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobqueue import Kind, Limits, RetryPolicy

from . import json_text, show, values
from .exits import Refused
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected, group

app = typer.Typer(no_args_is_help=True)


@app.callback()
@group
def _kinds() -> None:
    """The kinds of jobs: their schemas and defaults."""


@app.command("list")
@command
def list_kinds(server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False) -> None:
    """List the kinds. A field with a question mark may be left out of the payload."""
    with connected(server, deadline, as_json) as client:
        found = client.list_kinds()
        if as_json:
            for each in found:
                typer.echo(json_text.write(json_text.kind(each)))
        else:
            show.kinds(found)


@app.command()
@command
def put(
    name: Annotated[str, typer.Argument(help="Its name, such as hello.")],
    schema: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="JSON Schema of the payloads. Default: any JSON is taken."),
    ] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How many failures end a job. Default: 3.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long one attempt may run. Default: no limit.")
    ] = None,
    min_backoff: Annotated[
        str | None, typer.Option(metavar="DURATION", help="The shortest wait after a failure. Default: 1s.")
    ] = None,
    max_backoff: Annotated[
        str | None, typer.Option(metavar="DURATION", help="The longest wait after a failure. Default: 60s.")
    ] = None,
    max_running: Annotated[
        int | None,
        typer.Option("--max-running", metavar="N", help="Jobs of the kind at once. Default: no limit."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Jobs of the kind that start in a time: 100/s. Default: no limit."),
    ] = None,
    rate_burst: Annotated[
        int | None,
        typer.Option("--rate-burst", metavar="N", help="With --rate: so many may start at once."),
    ] = None,
    slot_weight: Annotated[
        int,
        typer.Option("--slot-weight", metavar="N", help="Slots of a worker that each job takes. Default: 1."),
    ] = 1,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Make a kind, or replace it as a whole: what is left out goes back to its default."""
    with connected(server, deadline, as_json) as client:
        policy = None
        if min_backoff is not None or max_backoff is not None:
            policy = RetryPolicy(
                min_backoff=values.optional_duration(min_backoff, "--min-backoff"),
                max_backoff=values.optional_duration(max_backoff, "--max-backoff"),
            )
        if rate_burst is not None and rate in (None, "none"):
            raise Refused("--rate-burst is given without a --rate")
        limits = Limits(
            max_running=max_running or 0,
            rate=values.rate(rate, rate_burst, "--rate") if rate not in (None, "none") else None,
        )
        kind = client.put_kind(
            Kind(
                name=name,
                schema=None if schema is None else _schema(schema),
                retry_policy=policy,
                max_attempts=max_attempts,
                timeout=values.optional_duration(timeout, "--timeout"),
                limits=limits if limits != Limits() else None,
                slot_weight=slot_weight,
            )
        )
        if as_json:
            typer.echo(json_text.write(json_text.kind(kind)))
        else:
            show.kinds([kind])


def _schema(path: str) -> dict[str, object] | bool:
    raw = typer.get_binary_stream("stdin").read() if path == "-" else values.file(path, where="--schema")
    where = f"--schema {path}"
    values.check_json(raw, where)
    found = json.loads(raw)
    if not isinstance(found, dict | bool):
        raise Refused('should be a JSON Schema, which is an object such as {"type": "object"}', where=where)
    return found
