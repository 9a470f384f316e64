"""The commands that hold the kinds of a program against those of a server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from jobqueue import JobKind, Kind, SyncClient, SyncedKind
from jobqueue.typed.changes import KindDifference, difference

from . import json_text, show
from .exits import Exit, Refused
from .modules import imported
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected

_Module = Annotated[
    str,
    typer.Argument(
        metavar="MODULE[:KINDS]",
        help="Where the kinds are: a module, and in it a kind or a list of them. Default: all kinds of the module.",
    ),
]


@command
def diff(
    kinds: _Module, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Show how the kinds of a program differ from those of the server. Changes nothing."""
    with connected(server, deadline, as_json) as client:
        for each in _differences(client, _kinds(kinds)):
            _show(each, as_json=as_json)


@command
def sync(
    kinds: _Module,
    show_diff: Annotated[bool, typer.Option("--diff", help="Show the difference as well.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing, and end with 1 where something differs.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Tell the server what the kinds of a program are: schemas, version, and the settings that they name.

    What a kind does not name stays as it is. A kind of which the server has a higher version stays as a whole.
    """
    with connected(server, deadline, as_json) as client:
        found = _kinds(kinds)
        differences = _differences(client, found) if check or show_diff else []
        for each in differences:
            _show(each, as_json=as_json)
        if check:
            if any(each.lines for each in differences):
                raise typer.Exit(Exit.JOB_FAILED)
            return
        for synced in client.sync_kinds(found):
            _say(synced, as_json=as_json)


@command
def export(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the files go; it is made where it is missing.")
    ],
    kind: Annotated[
        list[str] | None, typer.Option("--kind", metavar="NAME", help="Only this kind; may be given again.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Write the schemas of the server's kinds: KIND.schema.json, and KIND.output.schema.json where it has one.

    For tools that make types of them.
    """
    with connected(server, deadline, as_json) as client:
        there = {each.name: each for each in client.list_kinds()}
        wanted = [_found(there, name) for name in kind] if kind else list(there.values())
        try:
            out.mkdir(parents=True, exist_ok=True)
            for each in wanted:
                for suffix, schema in (
                    (".schema.json", each.schema),
                    (".output.schema.json", each.output_schema),
                ):
                    if schema is not None:
                        path = out / f"{each.name}{suffix}"
                        path.write_text(
                            json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
                        )
                        typer.echo(json.dumps({"file": str(path)}) if as_json else str(path))
        except OSError as error:
            raise Refused(f"can't be written: {error.strerror}", where=f"--out {out}") from None


def _found(there: dict[str, Kind], name: str) -> Kind:
    if name not in there:
        raise Refused(f"the server has no kind {name!r}; see `jobqueue kinds list`", code=Exit.NOT_FOUND)
    return there[name]


def _differences(client: SyncClient, kinds: Iterable[JobKind[Any, Any]]) -> list[KindDifference]:
    stored = {each.name: each for each in client.list_kinds()}
    return [difference(each, stored.get(each.name)) for each in kinds]


def _show(each: KindDifference, *, as_json: bool) -> None:
    if as_json:
        said = {
            "name": each.name,
            "differs": bool(each.lines),
            "new": each.new,
            "newer": each.newer,
            "breaking": list(each.breaking),
            "notes": list(each.notes),
            "diff": list(each.lines),
        }
        typer.echo(json_text.write(said))
        return
    state = "differs" if each.lines else "the server has a newer version" if each.newer else "no difference"
    show.line(f"{each.name}: {'new' if each.new else state}")
    for line in each.lines:
        show.line(f"  {line}")
    for words in each.breaking:
        show.line(f"  BREAKING {words}")
    for words in each.notes:
        show.line(f"  note: {words}")


def _say(synced: SyncedKind, *, as_json: bool) -> None:
    kind = synced.kind
    if as_json:
        said = {"name": kind.name, "changed": synced.changed, "newer": synced.newer, "version": kind.version}
        typer.echo(json_text.write(said))
        return
    state = (
        "changed"
        if synced.changed
        else "left, the server has a newer version"
        if synced.newer
        else "unchanged"
    )
    show.line(f"{kind.name}: {state}, version {kind.version}")


def _kinds(where: str) -> list[JobKind[Any, Any]]:
    """The kinds of a module, in which a program names them."""
    module, name = imported(where, "MODULE:KINDS, such as shop.kinds:KINDS")
    given: Any = getattr(module, name) if name else vars(module).values()
    found = [given] if isinstance(given, JobKind) else list(given) if isinstance(given, Iterable) else []
    kinds = list(dict.fromkeys(each for each in found if isinstance(each, JobKind)))
    if not kinds or (name and len(kinds) != len(found)):
        raise Refused("should be kinds that define_kind made: one, or a list of them", where=where)
    return kinds
