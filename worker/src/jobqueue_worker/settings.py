"""The worker's settings, read from the environment and from flags; every field says what it does."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_PREFIX = "JOBQUEUE_"
# From this similarity on a name is taken for a misspelling of another: one or two letters in ten differ. The names of
# the server's settings are less similar than this.
_NEAR = 0.85
# Variables of the server whose names are similar to a setting of the worker.
_OF_OTHERS = {"JOBQUEUE_TLS_CLIENT_CA", "JOBQUEUE_TLS_CLIENT_CRL"}

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(value: Any) -> Any:
    """`500ms`, `30s`, `5m`, `1h` or `2d` as a timedelta; a timedelta passes.

    Raises:
        ValueError: The text is something else. A number without a unit is refused too.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"{value!r} is not a duration; write a number and a unit, such as 500ms, 30s, 5m, 1h or 2d"
        )
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def _split(value: Any) -> Any:
    """`a,b` as a list, so that the environment needs no JSON."""
    if isinstance(value, str):
        return [part for part in (piece.strip() for piece in value.split(",")) if part]
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration), Field(gt=timedelta(0))]
Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]


def _seed_name(name: str, field: str) -> Any:
    """A setting that keeps its name from the system before this one."""
    return AliasChoices(name, field)


class WorkerSettings(BaseSettings):
    """All settings of `jobqueue-worker`.

    Each is read from the flag of its name, else from the environment as JOBQUEUE_<NAME>;
    WORKER_CONCURRENCY and WORKER_METRICS_BIND_ADDR have no prefix.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, populate_by_name=True, extra="ignore", frozen=True, env_ignore_empty=True
    )

    server: str = Field(default="127.0.0.1:50051", description="Server to lease jobs from, as host:port.")
    tls_roots: str | None = Field(
        default=None,
        description="Speak TLS: who signs the server's certificate, a PEM file, or `public` for the public "
        "authorities.",
    )
    tls_client_cert: Path | None = Field(
        default=None, description="Certificate to show, a PEM file, where the server wants one."
    )
    tls_client_key: Path | None = Field(
        default=None, description="Key of that certificate, a PEM file without a password."
    )
    token: SecretStr | None = Field(default=None, description="Sent as `authorization: Bearer`.")
    session_ttl: Duration | None = Field(
        default=None,
        description="How long this worker may be silent before its jobs go to others, 5s to 1h. Unset: as the "
        "server says.",
    )
    queues: Names = Field(
        default=["default"], description="Queues to take jobs from, separated by commas; they take turns."
    )
    worker_name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}"[:128],
        description="Name shown as locked_by. Default: host name and process id.",
        max_length=128,
    )
    concurrency: PositiveInt = Field(
        default=4,
        validation_alias=_seed_name("WORKER_CONCURRENCY", "concurrency"),
        description="Jobs that run at the same time.",
    )
    metrics_bind_addr: str = Field(
        default="127.0.0.1:9091",
        validation_alias=_seed_name("WORKER_METRICS_BIND_ADDR", "metrics_bind_addr"),
        description="Where /metrics and /health are served; if taken, the next free of ten ports.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line to log: debug, info, warning or error."
    )
    log_format: Literal["human", "json"] = Field(
        default="human", description="Lines for people, or a JSON object a line."
    )
    shutdown_grace: Duration = Field(
        default=timedelta(seconds=30),
        description="After SIGTERM: how long running jobs may take before they are released.",
    )
    simulate: bool = Field(
        default=False, description="Only pretend to work: the handlers take time and sometimes fail."
    )
    handlers: Names = Field(
        default=[], description="Handlers of your own, as module:name, separated by commas."
    )
    cpu_processes: int = Field(
        default=0,
        ge=0,
        description="Processes for images and summaries; 0 means one for each processor core.",
    )
    files_dir: Path | None = Field(
        default=None,
        description="Folder whose images `file:` urls may read; results go to its subfolder `output`. "
        "Unset: no files are read or written, and images come back inside the job's output.",
    )

    smtp_host: str = Field(default="localhost", description="Mail server.")
    smtp_port: int = Field(default=25, ge=1, le=65535, description="Mail server's port.")
    smtp_tls: Literal["auto", "none", "starttls", "tls"] = Field(
        default="auto",
        description="auto: STARTTLS where the server offers it; starttls: refuse to go on without it; "
        "tls: encrypted from the first byte (port 465); none: never.",
    )
    smtp_user: str | None = Field(default=None, description="User name, where the mail server wants one.")
    smtp_password: SecretStr | None = Field(
        default=None, description="Password that belongs to the user name."
    )
    smtp_from: str = Field(default="jobqueue@localhost", description="Sender of mails that name none.")
    smtp_timeout: Duration = Field(
        default=timedelta(seconds=30), description="Longest wait for each of the server's answers."
    )

    webhook_secret: SecretStr | None = Field(
        default=None,
        description="Standard Webhooks secret (whsec_...) that signs deliveries; several, separated by "
        "spaces, sign with each while keys are changed. Unset: deliveries are not signed.",
    )
    webhook_secrets: dict[str, SecretStr] = Field(
        default={},
        description='More secrets by name, as JSON: {"billing": "whsec_..."}; a payload picks one by `secret`.',
    )
    webhook_timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="Longest time a delivery may take in all; a payload may ask for less.",
    )
    webhook_allow: Names = Field(
        default=[],
        description="Addresses inside your network that webhooks may reach, separated by commas: 10.1.0.0/16, "
        "127.0.0.1:8099, [::1]:8099 or hooks.internal:443. All other non-public ones are refused.",
    )

    image_max_bytes: PositiveInt = Field(default=20 << 20, description="Largest source image, in bytes.")
    image_max_pixels: PositiveInt = Field(
        default=50_000_000, description="Most pixels of a source image, and of a result."
    )
    image_timeout: Duration = Field(
        default=timedelta(seconds=30), description="Longest time a download may take in all."
    )
    image_allow: Names = Field(default=[], description="As webhook_allow, for the sources of images.")
    image_allow_http: bool = Field(default=False, description="Take images over plain http as well.")


def environment_name(setting: str) -> str:
    """The name of a setting in the environment."""
    alias = WorkerSettings.model_fields[setting].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{_PREFIX}{setting.upper()}"


def misspelt(environment: Iterable[str]) -> dict[str, str]:
    """Variables whose names are similar to a setting's, each with the name that was probably meant.

    Other variables that begin with JOBQUEUE_ belong to other programs: servers, and handlers that the operator loads.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in WorkerSettings.model_fields}
    meant = {}
    for variable in environment:
        name = variable.upper()
        if name.startswith(_PREFIX) and name not in known | _OF_OTHERS:
            shorts = [each.removeprefix(_PREFIX) for each in known]
            for near in get_close_matches(name.removeprefix(_PREFIX), shorts, n=1, cutoff=_NEAR):
                meant[variable] = environment_name(near.lower())
    return meant
