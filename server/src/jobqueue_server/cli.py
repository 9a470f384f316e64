"""The command `jobqueue-server`: serve, migrate the schema, make the first key, say what is wrong, try it all."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from . import __version__, logs, systemd
from .bootstrap import first_key
from .embedded import EmbeddedPostgres, EmbeddedPostgresError, default_data_dir, running_dsn
from .program import ERRORS, fail, run
from .security import check
from .settings import Settings, SettingsInvalid, default_text, environment_name, misspelt, without_settings
from .store import migrate

_HELP = """A job queue over gRPC, kept in PostgreSQL.

With DATABASE_URL the server uses that database. Without, it brings a PostgreSQL along and keeps its data in --data-dir.
Every option can be given in the environment too, or in a file (--config); the option wins.

`jobqueue-server` alone is `jobqueue-server serve`. To look at it first: `jobqueue-server dev`.
"""

_HELP_FLAGS = ["-h", "--help"]

app = typer.Typer(
    name="jobqueue-server",
    help=_HELP,
    context_settings={"help_option_names": _HELP_FLAGS},
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
)
schema = typer.Typer(
    help="Bring the schema in the database up to date, or see how it stands.", no_args_is_help=True
)
app.add_typer(schema, name="migrate")
access = typer.Typer(help="Make the first key of an administrator.", no_args_is_help=True)
app.add_typer(access, name="keys")
cell = typer.Typer(help="Move the database to another PostgreSQL while it is used.", no_args_is_help=True)
app.add_typer(cell, name="cell")
_log = logs.get(__name__)
_out = Console()


def main() -> None:
    """Runs the command line. Without a command it runs `serve`."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in (*_HELP_FLAGS, "--version")):
        arguments.insert(0, "serve")
    app(arguments)


def _takes_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each of these settings (for all if none is named), and passes it the settings.

    The other parameters of the command are its own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name != "settings"
        ]

        def with_options(**flags: Any) -> None:
            given = {parameter.name: flags.pop(parameter.name) for parameter in own}
            try:
                settings = Settings.load(flags)
            except SettingsInvalid as error:
                fail(str(error), code=2)
            logs.configure(settings.log_level, settings.log_format)
            for variable, meant in misspelt(os.environ).items():
                _log.warning("a variable is no setting, and has no effect", variable=variable, meant=meant)
            command(settings, **given)

        options = [_option(name) for name in names or Settings.model_fields]
        with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
        with_options.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
        return with_options

    return decorate


def _option(name: str) -> inspect.Parameter:
    """The option for a setting. Its value is a text, which `Settings` checks as it checks the environment."""
    field = Settings.model_fields[name]
    extra = field.json_schema_extra
    default = default_text(name)
    note = f"{environment_name(name)}; {default}" if default else environment_name(name)
    info = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{field.description} [{note}]",
        metavar=_metavar(name),
        rich_help_panel=str(extra["group"]) if isinstance(extra, dict) else None,
        show_default=False,
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[str | None, info])


def _metavar(name: str) -> str:
    schema = _properties()[name]
    variants = schema.get("anyOf", [schema])
    if "enum" in schema:
        choices = "|".join(schema["enum"])
        # A wider one leaves too little of 80 columns to the names of settings. The description has the choices then.
        return choices if len(choices) < 13 else "MODE"
    if any(variant.get("format") == "duration" for variant in variants):
        return "DURATION"
    if schema.get("type") == "array":
        return "LIST"
    if name.endswith("_addr"):
        return "HOST:PORT"
    if name.endswith("_url"):
        return "URL"
    return "NUMBER" if any(variant.get("type") == "integer" for variant in variants) else "PATH"


@cache
def _properties() -> Mapping[str, Any]:
    # Made once: it takes 10 ms, and there are more than 150 options over all commands.
    properties: Mapping[str, Any] = Settings.model_json_schema(by_alias=False)["properties"]
    return properties


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        print(f"jobqueue-server {__version__}")
        raise typer.Exit


@app.command()
@_takes_settings()
def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, which drains; a second one ends at once."""
    try:
        warnings = check(settings)
    except SettingsInvalid as error:
        fail(str(error), code=2)
    for warning in warnings:
        _log.warning(warning)
    # The database driver and gRPC take a second to import: not for --help, nor for a parent of several processes.
    if settings.processes > 1:
        from .processes.parent import Processes

        async def work() -> None:
            if code := await Processes(settings).run():
                raise typer.Exit(code)
    else:
        from .app import App

        async def work() -> None:
            await App(settings, on_ready=lambda _app: systemd.tell(systemd.READY)).run()

    run(work)


@app.command()
def dev(
    free_ports: Annotated[
        bool,
        typer.Option(
            "--free-ports", help="Free ports, instead of 50051, 8080 and 9090 where these are free."
        ),
    ] = False,
) -> None:
    """Try it: a server, its dashboard and a worker with example jobs, in a temporary folder that Ctrl-C removes.

    It brings its PostgreSQL along and reads no settings, so it touches no database of yours. It listens on loopback.
    """
    # It is the one command that needs the client's library.
    from .dev.ports import Ports
    from .dev.run import Dev

    # Not on uvloop: it starts processes by a fork, of which gRPC would say that threads of its own run.
    if code := asyncio.run(Dev(Ports(usual=not free_ports)).run()):
        raise typer.Exit(code)


@app.command()
def ephemeral(
    template: Annotated[
        bool,
        typer.Option(
            "--template/--no-template",
            help="Copy a database that was made before, from the user's cache folder; make it where it is missing.",
        ),
    ] = True,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help="Find the server that other callers of this user have started, or start it; the last caller ends it.",
        ),
    ] = False,
    serves: Annotated[Path | None, typer.Option("--serves", hidden=True)] = None,
) -> None:
    """Serve for tests: a database of its own on free ports of loopback, all of which ends when stdin does.

    When it answers, it prints one line of JSON: `grpc` and `http` (HOST:PORT), `key` (permits everything), `version`,
    `pid`. It reads no settings. Jobs don't outlive a crash. The test kits of the clients start it (docs/testing.md).
    """
    for name in set(os.environ) - set(without_settings(os.environ)):
        del os.environ[name]
    logs.configure("error", "human")
    from .ephemeral.server import Ephemeral, end_of_input
    from .ephemeral.shared import Shared, command, server_key
    from .ephemeral.templates import Templates, key_of_this_version

    if shared:
        try:
            key = server_key(key_of_this_version(), template=template)
            print(Shared(key).join(command(template=template)), flush=True)
            end_of_input()
        except (EmbeddedPostgresError, migrate.MigrationError) as error:
            fail(str(error))
        except KeyboardInterrupt:
            pass
        return
    callers = None if serves is None else Shared("", serves)
    say = partial(print, flush=True) if callers is None else callers.tell
    wait = end_of_input if callers is None else callers.wait_until_alone
    untell = None if callers is None else callers.untell

    async def work() -> None:
        templates = Templates.of_this_version() if template else None
        await Ephemeral(say, wait, templates, untell).run()

    run(work)


_DATABASE = ("config", "database_url", "migrate_database_url", "data_dir", "log_level", "log_format")


@schema.command()
@_takes_settings(*_DATABASE)
def up(settings: Settings) -> None:
    """Apply the migrations that are missing. Running it again does nothing; two runs at the same time take turns."""

    async def work() -> None:
        async with _owner_dsn(settings) as dsn:
            applied = await migrate.up(dsn, settings.service_role)
        for migration in applied:
            print(f"applied {migration.file}")
        print(f"{len(applied)} applied" if applied else "up to date")

    run(work)


@schema.command()
@_takes_settings(*_DATABASE)
def status(settings: Settings) -> None:
    """Show every migration: when it was applied, or that it is pending. Ends with 1 if the schema is not up to date."""

    async def work() -> None:
        async with _owner_dsn(settings) as dsn:
            rows = await migrate.status(dsn)
        table = Table("version", "name", "state", "applied at")
        for row in rows:
            at = row.applied_at.isoformat(sep=" ", timespec="seconds") if row.applied_at else ""
            table.add_row(f"{row.version:04}", row.name, row.state, at)
        _out.print(table)
        if any(row.state != "applied" for row in rows):
            raise typer.Exit(1)

    run(work)


@schema.command()
@_takes_settings(*_DATABASE)
def plan(settings: Settings) -> None:
    """Print the SQL that `up` would run, and run nothing."""

    async def work() -> None:
        async with _owner_dsn(settings) as dsn:
            pending = await migrate.plan(dsn)
        for migration in pending:
            print(f"-- {migration.file}\n{migration.sql}")
        if not pending:
            print("-- up to date")

    run(work)


@access.command()
@_takes_settings(*_DATABASE)
def bootstrap(
    settings: Settings,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for, such as `ops`.")],
    admin: Annotated[
        bool, typer.Option("--admin", help="Say that it is to permit everything: the first key has to.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make it although another key of an administrator is good.")
    ] = False,
) -> None:
    """Make the first key, straight in the database: the key is the one line on stdout, and is shown once.

    It permits everything in the namespace `default`. Every other key is made by `jobqueue keys create`.
    """
    if not admin:
        fail("the first key permits everything: say so with --admin", code=2)
    if not 1 <= len(name) <= 100 or not name.isprintable():
        fail("NAME should be 1 to 100 characters, none of them a control character", code=2)

    async def work() -> None:
        async with _service_dsn(settings) as dsn:
            key = await first_key(dsn, name, force=force)
        ERRORS.print(
            f"key {key.id} for {name}; it is shown this once, so keep it in a safe place",
            highlight=False,
            markup=False,
        )
        print(key.text)

    run(work)


@cell.command()
@_takes_settings(*_DATABASE)
def move(
    settings: Settings,
    to: Annotated[
        str,
        typer.Option("--to", metavar="URL", help="The other PostgreSQL, as its owner: an empty database."),
    ],
    reached_by: Annotated[
        str | None,
        typer.Option(
            "--reached-by",
            metavar="URL",
            help="This database as the other one reaches it, if not by the same URL.",
        ),
    ] = None,
    cut_over: Annotated[
        bool,
        typer.Option("--cut-over", help="Go over once both are in step: this database then takes no writes."),
    ] = False,
    abandon: Annotated[
        bool,
        typer.Option("--abandon", help="Take back what was done. Before the cut-over it is always possible."),
    ] = False,
) -> None:
    """Copy the database to another PostgreSQL and keep both in step; with --cut-over, go over to it.

    It may be ended and run again at any point. docs/move.md has the steps.
    """
    if cut_over and abandon:
        fail("--cut-over and --abandon: give one of them", code=2)
    source = settings.migrate_dsn or running_dsn(settings.data_dir or Path(default_data_dir()))
    if source is None:
        fail("there is nothing to move: name the database by DATABASE_URL", code=2)

    async def work() -> None:
        from .cell.command import move
        from .cell.errors import MoveRefused

        try:
            await move(
                source, to, reached_by, settings.service_role, ERRORS, cut_over=cut_over, abandon=abandon
            )
        except MoveRefused as error:
            fail(str(error))

    run(work)


@app.command()
@_takes_settings()
def doctor(
    settings: Settings,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> None:
    """Look at settings, database and servers, and say what is wrong and what to do. Writes nothing.

    Give it the settings of the server. Ends with 0: all is well; 1: there are warnings; 2: something does not work, or
    may lose jobs.
    """
    from .doctor.examination import examine
    from .doctor.findings import EXIT_CODES, worst
    from .doctor.show import as_json as json_of
    from .doctor.show import print_table

    async def work() -> None:
        dsn = settings.dsn or running_dsn(settings.data_dir or Path(default_data_dir()))
        findings = [finding async for finding in examine(settings, dsn)]
        if as_json:
            print(json_of(findings))
        else:
            print_table(_out, findings)
        raise typer.Exit(EXIT_CODES[worst(findings)])

    run(work)


@app.command()
@_takes_settings(*_DATABASE)
def report(
    settings: Settings,
    since: Annotated[
        str,
        typer.Option("--since", metavar="TIME", help="Such as 2026-11-28T13:00:00Z; without a zone: UTC."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Say what would run after a restore, what ended since TIME, and what becomes of schedules. Writes nothing.

    TIME is that to which the backup was restored.
    """
    from .doctor.report import as_json as json_of
    from .doctor.report import print_report
    from .doctor.report import report as read_report

    try:
        at = datetime.fromisoformat(since)
    except ValueError:
        fail(f"--since should be a time such as 2026-11-28T13:00:00Z, not {since!r}", code=2)
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)

    async def work() -> None:
        async with _service_dsn(settings) as dsn:
            found = await read_report(dsn, at)
        if as_json:
            print(json_of(found))
        else:
            print_report(_out, found)

    run(work)


@app.command()
@_takes_settings(*_DATABASE)
def resume(settings: Settings) -> None:
    """End the standstill that JOBQUEUE_START=paused began: jobs are handed out and schedules fire, on all servers.

    Servers hear of it within 2 s. Take JOBQUEUE_START=paused away then.
    """
    from .doctor.restored import resume as end_standstill

    async def work() -> None:
        async with _service_dsn(settings) as dsn:
            since = await end_standstill(dsn)
        if since is None:
            print("nothing stands")
        else:
            print(f"jobs are handed out again; nothing was since {since.isoformat(timespec='seconds')}")

    run(work)


@contextlib.asynccontextmanager
async def _service_dsn(settings: Settings) -> AsyncIterator[str]:
    """The database as the service's role: the given one, the embedded one of a server that runs, or our own one."""
    folder = settings.data_dir or Path(default_data_dir())
    dsn = settings.dsn or running_dsn(folder)
    if dsn is not None:
        yield dsn
        return
    async with EmbeddedPostgres(folder) as postgres:
        await migrate.up(postgres.dsn)
        yield postgres.dsn


@contextlib.asynccontextmanager
async def _owner_dsn(settings: Settings) -> AsyncIterator[str]:
    """The URL of the database for its owner: the given one, or the embedded one, which runs until the block ends."""
    if settings.migrate_dsn is not None:
        yield settings.migrate_dsn
    else:
        async with EmbeddedPostgres(settings.data_dir or Path(default_data_dir())) as postgres:
            yield postgres.dsn
