"""The commands about kinds."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobqueue import Kind, Limits, RetryPolicy

from . import json_text, kind_keys, kind_sync, show, values
from .exits import Exit, Refused
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


@app.command()
@command
def get(
    name: Annotated[str, typer.Argument(help="Its name, such as hello.")],
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Show one kind, with its schemas and annotations."""
    with connected(server, deadline, as_json) as client:
        kind = next((each for each in client.list_kinds() if each.name == name), None)
        if kind is None:
            raise Refused(f"the server has no kind {name!r}; see `jobqueue kinds list`", code=Exit.NOT_FOUND)
        if as_json:
            typer.echo(json_text.write(json_text.kind(kind)))
        else:
            show.kind(kind)


@app.command("set")
@command
def set_kind(
    name: Annotated[str, typer.Argument(help="Its name, such as hello.")],
    schema: Annotated[
        str | None, typer.Option(metavar="FILE|-|none", help="JSON Schema of the payloads. none: any JSON.")
    ] = None,
    output_schema: Annotated[
        str | None,
        typer.Option(metavar="FILE|none", help="JSON Schema of the outputs. none: nothing is said."),
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help="How many failures end a job. 0: the default, 3.")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION|none", help="How long one attempt may run. none: no limit."),
    ] = None,
    backoff: Annotated[
        str | None,
        typer.Option(metavar="MIN-MAX|default", help="The waits after failures, such as 1s-60s."),
    ] = None,
    max_running: Annotated[
        int | None, typer.Option("--max-running", metavar="N", help="Jobs of the kind at once. 0: no limit.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE|none", help="Jobs of the kind that start in a time: 100/s. none: no limit."
        ),
    ] = None,
    rate_burst: Annotated[
        int | None, typer.Option("--rate-burst", metavar="N", help="With --rate: so many may start at once.")
    ] = None,
    slot_weight: Annotated[
        int | None, typer.Option("--slot-weight", metavar="N", help="Slots of a worker that each job takes.")
    ] = None,
    version: Annotated[int | None, typer.Option(metavar="N", help="Of the payloads. 0: none.")] = None,
    annotation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K=V|none",
            help="What else to say of it; may be given again. Replaces all.",
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Change what is given of a kind, and leave the rest; a kind that is not there is made."""
    with connected(server, deadline, as_json) as client:
        if rate_burst is not None and rate in (None, "none"):
            raise Refused("--rate-burst is given without a --rate")
        period = values.rate(rate, rate_burst, "--rate") if rate not in (None, "none") else None
        given = {
            "schema": schema,
            "output_schema": output_schema,
            "max_attempts": max_attempts,
            "timeout": timeout,
            "retry_policy": backoff,
            "limits.max_running": max_running,
            "limits.rate": rate,
            "slot_weight": slot_weight,
            "version": version,
            "annotations": annotation or None,
        }
        fields = [field for field, value in given.items() if value is not None]
        if not fields:
            raise Refused("nothing is to be changed: give at least one option")
        kind = client.put_kind(
            Kind(
                name=name,
                schema=None if schema in (None, "none") else _schema(schema),
                output_schema=None
                if output_schema in (None, "none")
                else _schema(output_schema, "--output-schema"),
                retry_policy=_policy(backoff),
                max_attempts=max_attempts or None,
                timeout=None if timeout == "none" else values.optional_duration(timeout, "--timeout"),
                limits=Limits(max_running=max_running or 0, rate=period),
                slot_weight=1 if slot_weight is None else slot_weight,
                version=version or 0,
                annotations=_annotations(annotation or []),
            ),
            fields=fields,
        )
        if as_json:
            typer.echo(json_text.write(json_text.kind(kind)))
        else:
            show.kinds([kind])


app.command("diff")(kind_sync.diff)
app.command("sync")(kind_sync.sync)
app.command("export")(kind_sync.export)
app.command("keys")(kind_keys.keys)


def _policy(backoff: str | None) -> RetryPolicy | None:
    if backoff in (None, "default"):
        return None
    low, dash, high = backoff.partition("-")
    if not dash:
        raise Refused(f"{backoff!r} should be two durations, such as 1s-60s", where="--backoff")
    return RetryPolicy(
        min_backoff=values.duration(low, "--backoff"), max_backoff=values.duration(high, "--backoff")
    )


def _annotations(given: list[str]) -> dict[str, str]:
    if given == ["none"]:
        return {}
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise Refused(f"{each!r} should be written NAME=VALUE", where="--annotation")
        found[name] = value
    return found


def _schema(path: str, option: str = "--schema") -> dict[str, object] | bool:
    raw = typer.get_binary_stream("stdin").read() if path == "-" else values.file(path, where=option)
    where = f"{option} {path}"
    values.check_json(raw, where)
    found = json.loads(raw)
    if not isinstance(found, dict | bool):
        raise Refused('should be a JSON Schema, which is an object such as {"type": "object"}', where=where)
    return found
