"""The settings of the server. A flag wins over the environment, that over the file, that over the default here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .durations import format_duration, parse_duration

_PREFIX = "JOBQUEUE_"
# From this similarity on a name is taken for a misspelling of another: one or two letters in ten differ. The names of
# the worker's settings are less similar than this.
_NEAR = 0.85
# Variables of clients and workers whose names are similar to a setting of the server.
_OF_OTHERS = {"JOBQUEUE_TLS_CLIENT_CERT"}


class SettingsInvalid(ValueError):
    """A setting can't be used. The text names it as the operator wrote it, and says which values are right."""


def _duration(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("should be a text with a unit, such as 1500ms, 30s, 5m, 12h or 7d")


def _between(low: str, high: str) -> Callable[[timedelta], timedelta]:
    def check(value: timedelta) -> timedelta:
        if not parse_duration(low) <= value <= parse_duration(high):
            raise ValueError(f"should be from {low} to {high}")
        return value

    return check


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError("should be HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051 (port 0: a free one)")
    if ":" in host and not re.fullmatch(r"\[[0-9a-fA-F:.%]+\]", host):
        raise ValueError("an IPv6 address goes in brackets, such as [::1]:50051")
    return value


def _off(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "off" else value


def _dsn(value: SecretStr) -> SecretStr:
    # The text may hold a password, so no message repeats it.
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("should be postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return value


def _listed(value: object) -> object:
    """The items of a list that is written as text, with commas between them."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _alone(values: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in values and len(values) > 1:
        raise ValueError("should be * alone, or a list without it")
    return values


def _is_origin(value: str) -> bool:
    parts = _origin(value)
    return parts is not None and parts.groups() not in (("http", "80"), ("https", "443"))


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*" and not _is_origin(value):
            raise ValueError(
                "should be origins as browsers write them, such as https://example.com or http://localhost:3000: "
                "in lower case, without a path, a slash at the end, or the scheme's usual port"
            )
    return _alone(values)


def _hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*" and not _is_host(value):
            raise ValueError("should be names of hosts without a port, such as jobs.example.com")
    return _alone(values)


def _auth(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in _AUTH:
            raise ValueError(f"should be a list of {', '.join(_AUTH)}, or empty")
    return values


def _algorithms(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in ALGORITHMS:
            raise ValueError(
                f"should be a list of {', '.join(ALGORITHMS)}: by one of these only the issuer can sign"
            )
    return values


def _names_of_certificates(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or set(values) - set(_NAMES_OF_CERTIFICATES):
        raise ValueError(f"should be a list of {', '.join(_NAMES_OF_CERTIFICATES)}")
    return values


def _insecure(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in _INSECURE:
            raise ValueError(f"should be a list of {', '.join(_INSECURE)}, or empty (docs/hardening.md)")
    return values


def _permissions(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in _ANONYMOUS:
            raise ValueError(f"should be a list of {', '.join(_ANONYMOUS)}, or empty")
    return values


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Address = Annotated[str, AfterValidator(_address)]
Dsn = Annotated[SecretStr, AfterValidator(_dsn)]
List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]

_AUTH = ("keys", "jwt", "mtls")
# By which an issuer can sign so that the server need not know its secret.
ALGORITHMS = (
    "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"
)  # fmt: skip
_NAMES_OF_CERTIFICATES = ("uri", "dns", "cn")
_INSECURE = ("plaintext", "no-auth", "public-metrics", "public-docs")
# An administrator always has a name.
_ANONYMOUS = ("enqueue", "read", "work", "operate")
_origin = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?").fullmatch
_is_host = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?").fullmatch


def _set(group: str, default: Any, description: str, **more: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"group": group}, **more)


class Settings(BaseSettings):
    """Every setting of the server, checked. A program gets them by `Settings.load`.

    In the environment a setting is called JOBQUEUE_<NAME>, except DATABASE_URL and API_BIND_ADDR. As a flag it is
    called --<name>, in the file <name>.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, populate_by_name=True
    )

    config: Path | None = _set("General", None, "A TOML file with settings, one `name = value` a line.")
    log_level: Literal["debug", "info", "warning", "error"] = _set(
        "General", "info", "The least that is logged."
    )
    log_format: Literal["human", "json"] = _set(
        "General", "human", "Lines for people, or one JSON object a line."
    )

    database_url: Dsn | None = _set(
        "Database",
        None,
        "The PostgreSQL to use, 15 or later. Without it the server brings one along and keeps its data in data_dir.",
        validation_alias="DATABASE_URL",
    )
    migrate_database_url: Dsn | None = _set(
        "Database",
        None,
        "The same database as the role that migrates it, where the role of DATABASE_URL owns nothing.",
    )
    data_dir: Path | None = _set(
        "Database",
        None,
        "The folder of the embedded PostgreSQL; by default ~/.local/share/jobqueue, as root /var/lib/jobqueue.",
    )
    db_pool_size: int = _set("Database", 10, "Connections to PostgreSQL at most.", ge=4, le=1000)
    db_acquire_timeout: Annotated[Duration, AfterValidator(_between("100ms", "1m"))] = _set(
        "Database",
        timedelta(seconds=5),
        "How long a call waits for a connection before it answers UNAVAILABLE.",
    )
    notify: Literal["on", "off"] = _set(
        "Database",
        "on",
        "Whether servers wake each other by LISTEN and NOTIFY, each by a connection of its own. `off` where a pooler "
        "swallows notices; servers then find each other's work within a second.",
    )

    grpc_addr: Address = _set(
        "Network", "127.0.0.1:50051", "Where gRPC answers. Name another address to be reachable."
    )
    grpc_engine: Literal["http2", "grpcio"] = _set(
        "Network",
        "http2",
        "What serves gRPC: `http2`, the server's own transport; or `grpcio`, the one of that package, which is slower "
        "and keeps fewer bounds (docs/engines.md).",
    )
    fast_path: Literal["on", "off"] = _set(
        "Network",
        "on",
        "Whether enqueues take a shorter path through the code. The answers are the same with `off`, which costs "
        "several times the CPU: it is there to rule the fast path out when something looks wrong.",
    )
    http_addr: Annotated[Address | None, BeforeValidator(_off)] = _set(
        "Network",
        "127.0.0.1:8080",
        "Where HTTP/JSON answers; `off` for none.",
        validation_alias="API_BIND_ADDR",
    )
    http_hosts: Annotated[List, AfterValidator(_hosts)] = _set(
        "Network",
        (),
        "Names under which HTTP is called, beside addresses and localhost, with commas between them; `*` for any name. "
        "Empty: any, unless http_addr is a loopback.",
    )
    cors_origins: Annotated[List, AfterValidator(_origins)] = _set(
        "Network",
        (),
        "Origins whose pages may call from a browser (https://example.com), with commas between them; `*` for all.",
    )
    http_errors: Literal["status", "aip193"] = _set(
        "Network",
        "status",
        "Errors over HTTP: `status`, as a google.rpc.Status; `aip193`, within `error`, as Google's APIs have them.",
    )
    ui: Literal["on", "read-only", "off"] = _set(
        "Network",
        "on",
        "Whether HTTP serves the dashboard at /ui/: on, off or read-only, which hides its buttons and refuses nothing: "
        "what a caller may do, its key says (docs/dashboard.md).",
    )
    metrics_addr: Annotated[Address | None, BeforeValidator(_off)] = _set(
        "Network", "127.0.0.1:9090", "Where Prometheus reads /metrics; `off` for none."
    )
    tls_cert: Path | None = _set(
        "Network",
        None,
        "The server's certificate with those that signed it, a PEM file: gRPC and HTTP then take TLS alone.",
    )
    tls_key: Path | None = _set("Network", None, "The certificate's key, a PEM file without a password.")
    tls_client_ca: Path | None = _set(
        "Network",
        None,
        "Who signs the certificates of clients, a PEM file. A client that shows none is not let in, but where auth has "
        "`mtls` beside others.",
    )
    tls_client_crl: Path | None = _set(
        "Network",
        None,
        "Which of those certificates were revoked, a PEM file with a list of each authority. Once a list has ended no "
        "certificate is let in. The files of TLS are read again when they change, within 10 s or on SIGHUP.",
    )
    processes: int = _set(
        "Network",
        1,
        "Server processes that share the ports, for more cores. Each has connections and limits of its own; "
        "metrics_addr tells of all, `/metrics` on the HTTP port of one.",
        ge=1,
        le=64,
    )
    connection_max_age: Annotated[Duration, AfterValidator(_between("1s", "365d"))] = _set(
        "Network",
        timedelta(minutes=30),
        "How old a gRPC connection gets; then its caller connects anew, and a worker does so shortly before, so that "
        "load spreads over servers that came later. What is under way goes on.",
    )
    max_streams: int = _set(
        "Network", 2000, "Lease streams open at once, shared by principals; one more is refused.", ge=1
    )
    max_watches: int = _set(
        "Network",
        200,
        "WatchJobs streams open at once on this server, shared by principals; one more is refused.",
        ge=1,
    )
    grpc_max_connections: int | None = _set(
        "Network",
        None,
        "gRPC connections open at once in each process; one more is closed. By default 2,000 more than max_streams.",
        ge=1,
    )
    grpc_preface_timeout: Annotated[Duration, AfterValidator(_between("1s", "1m"))] = _set(
        "Network",
        timedelta(seconds=10),
        "How long a new gRPC connection has for TLS, and again for its first words; then it is closed.",
    )
    grpc_max_unfinished: int = _set(
        "Network",
        200,
        "Requests of one gRPC connection that are still arriving after a second; further ones are refused. Streams of "
        "requests don't count.",
        ge=1,
    )
    grpc_request_timeout: Annotated[Duration, AfterValidator(_between("1s", "1h"))] = _set(
        "Network",
        timedelta(seconds=30),
        "How long a gRPC request may arrive, where its caller gives it no deadline; with one, up to ten times as long.",
    )
    grpc_stall_timeout: Annotated[Duration, AfterValidator(_between("1s", "1h"))] = _set(
        "Network",
        timedelta(seconds=30),
        "A gRPC caller that reads nothing of a call's answer for so long loses the call; one that reads nothing at all "
        "loses the connection.",
    )
    grpc_unread_mib: int = _set(
        "Network",
        16,
        "MiB of answers that the caller of one gRPC connection has not read; a call with more ends. From an eighth on "
        "further calls wait.",
        ge=8,
        le=4096,
    )
    grpc_all_unread_mib: int = _set(
        "Network",
        256,
        "The same of all gRPC connections of a process; beyond it the connection with the most ends.",
        ge=8,
        le=65_536,
    )
    grpc_held_mib: int = _set(
        "Network",
        256,
        "MiB of requests on one gRPC connection that are arriving, or whose calls go on; a call with more is refused.",
        ge=8,
        le=4096,
    )
    grpc_all_held_mib: int = _set(
        "Network",
        512,
        "The same of all gRPC connections of a process; beyond it the connection with the most ends.",
        ge=8,
        le=65_536,
    )
    grpc_reset_burst: int = _set(
        "Network",
        1000,
        "Calls on one gRPC connection that may be cancelled beyond those that ended; one more ends the connection.",
        ge=1,
    )
    grpc_reset_rate: int = _set("Network", 33, "What grpc_reset_burst gets back each second.", ge=1)

    auth: Annotated[List, AfterValidator(_auth)] = _set(
        "Access",
        (),
        "How callers show who they are, with commas between several: `keys`, by API keys (docs/start/access.md); "
        "`jwt`, by tokens of an OIDC issuer, and `mtls`, by certificates (docs/start/identities.md). Empty: they need "
        "not, and each may do everything.",
    )
    jwt_issuer: str = _set(
        "Access", "", "Whose tokens are taken: the claim `iss`, such as https://id.example.com."
    )
    jwt_audience: str = _set(
        "Access", "", "For whom tokens have to be: what the claim `aud` is, or has in its list."
    )
    jwt_jwks_url: str = _set(
        "Access",
        "",
        "Where the issuer's keys are, by https; by http on a loopback alone. They are read each 10 min, and kept for "
        "24 h while the issuer is away.",
    )
    jwt_issuers: Path | None = _set(
        "Access",
        None,
        "Several issuers: a TOML file with a table for each, with `issuer`, `audience`, `jwks_url` and, where they are "
        "not those of the settings, `algorithms` and `claims` (docs/start/identities.md).",
    )
    jwt_algorithms: Annotated[List, AfterValidator(_algorithms)] = _set(
        "Access", ("ES256", "RS256"), "By which algorithms tokens may be signed, with commas between them."
    )
    jwt_claims: List = _set(
        "Access",
        ("sub",),
        "Which claim names the caller, with commas between several: the first that a token has.",
    )
    mtls_identity: Annotated[List, AfterValidator(_names_of_certificates)] = _set(
        "Access",
        _NAMES_OF_CERTIFICATES,
        "Which names of a certificate say who its caller is: `uri` (such as a SPIFFE id) and `dns` among its "
        "alternative names, `cn` of its subject. Those of the first kind that it has count.",
    )
    auth_anonymous: Annotated[List, AfterValidator(_permissions)] = _set(
        "Access",
        (),
        "What a caller that shows nothing may do in the namespace `default`, where auth is set, such as `read`; empty: "
        "it is refused. Payloads are not shown to it.",
    )
    audit_retention: Annotated[Duration, AfterValidator(_between("30d", "3650d"))] = _set(
        "Access", timedelta(days=400), "How long the audit log is kept; at least 30d."
    )
    reflection: Literal["auto", "on", "off"] = _set(
        "Access",
        "auto",
        "Whether gRPC tells its contract, as grpcurl asks for: `auto`, to callers with credentials where auth is set, "
        "else to all; `on`, to all; `off`, to none.",
    )
    metrics_token_file: Path | None = _set(
        "Access",
        None,
        "A file with a token that readers of metrics_addr have to show, as `Authorization: Bearer TOKEN`.",
    )
    insecure: Annotated[List, AfterValidator(_insecure)] = _set(
        "Access",
        (),
        "What the server would refuse to start with, and is to accept: `plaintext`, `no-auth`, `public-metrics`, "
        "`public-docs`, with commas between them (docs/hardening.md).",
    )

    kinds: Literal["declared", "open"] = _set(
        "Jobs", "declared", "`declared`: a job's kind must be known by PutKind; `open`: any kind is taken."
    )
    retention: Annotated[Duration, AfterValidator(_between("1h", "3650d"))] = _set(
        "Jobs",
        timedelta(days=7),
        "How long a job can be read after its end, where its queue does not say otherwise (docs/retention.md).",
    )
    start: Literal["running", "paused"] = _set(
        "Jobs",
        "running",
        "`paused`: after a restore. Nothing is handed out and no schedule fires, on any server, until "
        "`jobqueue-server resume`; once for each restore (docs/runbook.md).",
    )
    idempotency_ttl: Annotated[Duration, AfterValidator(_between("24h", "3650d"))] = _set(
        "Jobs", timedelta(hours=24), "How long an idempotency key is remembered; at least 24h."
    )
    max_losses: int = _set(
        "Jobs",
        5,
        "A job that has lost so many workers is FAILED_PERMANENT (LOST_TOO_OFTEN). A job that kills its workers may "
        "cost each of its neighbours two losses.",
        ge=3,
        le=1000,
    )
    enqueue_queue_limit: int = _set(
        "Jobs",
        10_000,
        "Jobs that may wait to be inserted, shared by principals; one beyond is refused with RESOURCE_EXHAUSTED.",
        ge=1,
    )

    max_queues: int = _set(
        "Jobs",
        200_000,
        "Pairs of queue and kind that a namespace may have; what would make one more is refused: QUEUES_FULL. A pair "
        "without jobs is forgotten after a while (docs/retention.md).",
        ge=1,
        le=10_000_000,
    )

    session_ttl: Annotated[Duration, AfterValidator(_between("5s", "1h"))] = _set(
        "Workers",
        timedelta(seconds=30),
        "How long a silent worker keeps its jobs, where it asks for nothing else.",
    )
    max_sessions: int = _set(
        "Workers", 10_000, "Sessions at once on this server, shared by principals; one more is refused.", ge=1
    )
    cancel_grace: Annotated[Duration, AfterValidator(_between("0s", "1h"))] = _set(
        "Workers",
        timedelta(seconds=30),
        "How long a worker has to answer a cancel before its job is CANCELLED anyway.",
    )
    shutdown_grace: Annotated[Duration, AfterValidator(_between("0s", "1h"))] = _set(
        "Workers",
        timedelta(seconds=30),
        "How long the server takes settlements after SIGTERM, before it ends.",
    )

    @classmethod
    def load(cls, flags: Mapping[str, object] | None = None) -> Settings:
        """Reads the flags (by name of the setting), the environment, and the file that one of them names.

        Raises:
            SettingsInvalid: naming every setting that is wrong.
        """
        try:
            return cls(**{name: value for name, value in (flags or {}).items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            raise SettingsInvalid(
                "\n".join(_explain(cls, dict(detail)) for detail in error.errors())
            ) from None
        except SettingsError as error:
            raise SettingsInvalid(str(error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over environment over file."""
        path = init_settings().get("config") or env_settings().get("config")
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read(path))

    @property
    def dsn(self) -> str | None:
        """DATABASE_URL with its password; None: use the embedded PostgreSQL."""
        return None if self.database_url is None else self.database_url.get_secret_value()

    @property
    def migrate_dsn(self) -> str | None:
        """The URL of the database for the role that owns the schema."""
        return self.dsn if self.migrate_database_url is None else self.migrate_database_url.get_secret_value()

    @property
    def service_role(self) -> str | None:
        """The role of DATABASE_URL, if another role migrates; None if both are the same."""
        if self.dsn is None or self.migrate_dsn is None:
            return None
        role, owner = (urlsplit(dsn).username for dsn in (self.dsn, self.migrate_dsn))
        return None if role is None or role == owner else unquote(role)


def listening(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """For each listener: its name, its address, and the setting of that address."""
    yield "The gRPC server", settings.grpc_addr, "JOBQUEUE_GRPC_ADDR"
    if settings.http_addr is not None:
        yield "The HTTP server", settings.http_addr, "API_BIND_ADDR"
    if settings.metrics_addr is not None:
        yield "The metrics endpoint", settings.metrics_addr, "JOBQUEUE_METRICS_ADDR"


def environment_name(setting: str) -> str:
    """The name of a setting in the environment."""
    alias = Settings.model_fields[setting].validation_alias
    return alias if isinstance(alias, str) else f"JOBQUEUE_{setting.upper()}"


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the settings of servers, clients and workers, above all without a database."""
    settings = {environment_name(name) for name in Settings.model_fields}
    return {
        name: value
        for name, value in environment.items()
        if name not in settings and not name.startswith(_PREFIX)
    }


def misspelt(environment: Iterable[str]) -> dict[str, str]:
    """Variables whose names are similar to a setting's, each with the name that was probably meant.

    Other variables that begin with JOBQUEUE_ belong to other programs, such as workers.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    meant = {}
    for variable in environment:
        name = variable.upper()
        if name.startswith(_PREFIX) and name not in known | _OF_OTHERS:
            shorts = [each.removeprefix(_PREFIX) for each in known]
            for near in get_close_matches(name.removeprefix(_PREFIX), shorts, n=1, cutoff=_NEAR):
                meant[variable] = environment_name(near.lower())
    return meant


def default_text(setting: str) -> str:
    """A setting's default as an operator would write it; empty if it has none."""
    default = Settings.model_fields[setting].default
    if default is None:
        return ""
    if isinstance(default, tuple):
        return ",".join(default)
    return format_duration(default) if isinstance(default, timedelta) else str(default)


def render_env_example() -> str:
    """The text of .env.example: every setting with its meaning and its default."""
    lines = [
        "# Every setting of jobqueue-server, with its default. Flags win over these, these over --config FILE."
    ]
    group = None
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra["group"] != group:
            group = extra["group"]
            lines += ["", f"## {group}"]
        lines += [f"# {field.description}", f"# {environment_name(name)}={default_text(name)}"]
    return "\n".join(lines) + "\n"


def _read(path: Any) -> dict[str, Any]:
    """The settings in a TOML file."""
    if not path:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise SettingsInvalid(
            f"{path} can't be read: {error.strerror} (named by --config or JOBQUEUE_CONFIG)"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} is not TOML: {error}") from None
    for name in values:
        if name not in Settings.model_fields or name == "config":
            near = get_close_matches(name, Settings.model_fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(Settings.model_fields)}"
            raise SettingsInvalid(f"{path}: there is no setting {name}{hint}")
    return values


def _explain(settings: type[Settings], detail: dict[str, Any]) -> str:
    """The error text for one wrong setting. It repeats the value, unless the value may hold a secret."""
    name = str(detail["loc"][0])
    # pydantic locates a setting that has its own environment name by that name.
    name = {environment_name(setting): setting for setting in settings.model_fields}.get(name, name)
    if name not in settings.model_fields:
        return f"there is no setting {name}"
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    given = "" if name.endswith("database_url") else f", not {detail['input']!r}"
    return f"{environment_name(name)} (--{name.replace('_', '-')}) {message}{given}"
