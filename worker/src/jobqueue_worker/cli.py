"""The command `jobqueue-worker`."""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_core import PydanticUndefined
from pydantic_settings import SettingsError
from rich.console import Console

from .settings import WorkerSettings, environment_name, misspelt

_HELP = """Take jobs from a JobQueue server and run them.

SIGTERM and Ctrl-C drain: no new jobs, running ones finish or go back. A second one ends at once.

It runs `send_email`, `resize_image`, `summarize_text` and `webhook_delivery`, and the kinds of --handlers.
Every option can be given in the environment too; the option wins. Secrets are better given there.

Ends with 0 after a drain, 1 when it can't serve, 2 when an option is wrong.
"""

_PANELS = {
    "tls": "Server's TLS",
    "smtp": "Mail",
    "webhook": "Webhooks",
    "image": "Images",
    "log": "Logs and metrics",
    "metrics": "Logs and metrics",
}
_SHORT = {"files_dir": "--files"}

_log = logging.getLogger(__name__)
# A `:x:` in a message is part of a name, and not an emoji.
_err = Console(stderr=True, emoji=False)


def main() -> None:
    """Runs the command line."""
    app()


def flag_name(setting: str) -> str:
    """What a setting is called on the command line."""
    return f"--{setting.replace('_', '-')}"


def load(flags: Mapping[str, object]) -> WorkerSettings:
    """Reads flags, by the name of the setting, and the environment.

    Raises:
        ValueError: Settings are wrong; the text names each as the operator wrote it.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    secrets = given.get("webhook_secrets")
    if isinstance(secrets, str):
        try:
            given["webhook_secrets"] = json.loads(secrets)
        except ValueError:
            raise ValueError(
                'JOBQUEUE_WEBHOOK_SECRETS (--webhook-secrets) is no JSON; it should be {"name": "whsec_..."}'
            ) from None
    try:
        return WorkerSettings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValueError("\n".join(_explain(dict(detail)) for detail in error.errors())) from None
    except SettingsError as error:
        raise ValueError(str(error)) from None


def _explain(detail: dict[str, Any]) -> str:
    """One wrong setting, in the words of an operator. The value is repeated unless it may be a secret."""
    place = str(detail["loc"][0])
    name = next(
        (each for each in WorkerSettings.model_fields if place in (each, environment_name(each))), place
    )
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    secret = any(word in name for word in ("secret", "password", "token"))
    given = "" if secret or repr(detail["input"]) in message else f", not {detail['input']!r}"
    return f"{environment_name(name)} ({flag_name(name)}) {message}{given}"


def _with_an_option_for_each_setting(command: Callable[[WorkerSettings], None]) -> Callable[..., None]:
    def with_options(version: bool = False, **flags: Any) -> None:
        if version:
            print(f"jobqueue-worker {version_of('jobqueue-worker')}")
            return
        try:
            settings = load(flags)
        except ValueError as error:
            _fail(str(error), code=2)
        command(settings)

    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    version_option = inspect.Parameter(
        "version",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--version", help="Print the version and end.")],
    )
    options = [_option(name) for name in WorkerSettings.model_fields]
    with_options.__signature__ = inspect.Signature([*options, version_option])  # type: ignore[attr-defined]
    return with_options


def _option(name: str) -> inspect.Parameter:
    """The option for a setting: a text, since `WorkerSettings` checks it as it checks the environment."""
    field = WorkerSettings.model_fields[name]
    default = default_text(field.default)
    note = f"{environment_name(name)}; {default}" if default else environment_name(name)
    switch = field.annotation is bool
    flags = [flag_name(name), *([_SHORT[name]] if name in _SHORT else [])]
    info = typer.Option(
        *flags,
        help=f"{field.description} [{note}]",
        metavar=None if switch else _metavar(name),
        rich_help_panel=_PANELS.get(name.partition("_")[0], "Worker"),
        show_default=False,
    )
    annotation: Any = Annotated[bool | None, info] if switch else Annotated[str | None, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def default_text(default: object) -> str:
    """A default, as one would write it; empty where there is none."""
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g}s"
    if default is PydanticUndefined or default is None or isinstance(default, bool):
        return ""
    return ",".join(map(str, default)) if isinstance(default, list | dict) else str(default)


def _metavar(name: str) -> str:
    schema = WorkerSettings.model_json_schema(by_alias=False)["properties"][name]
    variants = schema.get("anyOf", [schema])
    kinds = {variant.get("format", variant.get("type")) for variant in variants}
    if name == "log_level":
        return "LEVEL"  # a column as wide as all four words would leave the texts beside it too little
    if "enum" in schema:
        return "|".join(schema["enum"])
    if name in ("server", "metrics_bind_addr"):
        return "HOST:PORT"
    if name == "handlers":
        return "MODULE:NAME,..."
    for kind, shown in (
        ("duration", "DURATION"),
        ("array", "A,B,..."),
        ("object", "JSON"),
        ("integer", "NUMBER"),
    ):
        if kind in kinds:
            return shown
    return "DIR" if "path" in kinds else "TEXT"


@_with_an_option_for_each_setting
def _serve(settings: WorkerSettings) -> None:
    # gRPC and the handlers' libraries take a while to import: not for --help.
    from jobqueue import JobQueueError

    from . import logs
    from .metrics import EndpointUnusable
    from .service import WorkerService

    logs.configure(settings.log_level, settings.log_format)
    for variable, meant in misspelt(os.environ).items():
        _log.warning("no setting is called %s: it has no effect; did you mean %s?", variable, meant)
    if settings.files_dir is not None and not settings.files_dir.is_dir():
        _fail(f"JOBQUEUE_FILES_DIR (--files) names {settings.files_dir}, which is no folder", code=2)
    try:
        service = WorkerService(settings)
    except (ValueError, EndpointUnusable) as error:
        _fail(str(error), code=2)
    try:
        service.run()
    except (EndpointUnusable, JobQueueError) as error:
        _fail(str(error))


def _fail(message: str, *, code: int = 1) -> Any:
    _err.print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


app = typer.Typer(name="jobqueue-worker", rich_markup_mode="markdown", add_completion=False)
app.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})(_serve)
