"""The options that every command has, and the connection that they describe."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import grpc
import typer

from jobqueue import Encoded, EncodingUnknown, JobQueueError, KeyUnknown, SyncClient, tls_credentials

from . import values
from .exits import Refused, fail
from .modules import imported

if TYPE_CHECKING:
    from jobqueue import Encodings

DEFAULT_SERVER = "127.0.0.1:50051"

_SERVER: Any = {"metavar": "HOST:PORT", "help": "The server to talk to."}
_DEADLINE: Any = {"metavar": "DURATION", "help": "How long to try to reach the server."}
_JSON: Any = {"help": "JSON for scripts: one object a line."}
_TLS_ROOTS: Any = {
    "metavar": "FILE|public",
    "help": "Speak TLS: who signs the server's certificate, a PEM file, or the public authorities.",
}
_TLS_CLIENT_CERT: Any = {"metavar": "FILE", "help": "The certificate to show, where the server wants one."}
_TLS_CLIENT_KEY: Any = {"metavar": "FILE", "help": "Its key, without a password."}
_ENCODINGS: Any = {
    "metavar": "MODULE:NAME",
    "help": "What payloads are encoded by: an `Encodings` of a module of yours.",
}
_TOKEN: Any = {"metavar": "TEXT", "help": "Sent as `authorization: Bearer`. Better given in the environment."}

Server = Annotated[str, typer.Option("--server", envvar="JOBQUEUE_SERVER", **_SERVER)]
Deadline = Annotated[str, typer.Option("--deadline", envvar="JOBQUEUE_DEADLINE", **_DEADLINE)]
AsJson = Annotated[bool, typer.Option("--json", **_JSON)]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The ids of the jobs.")]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to be let in, and how to read what is there."""

    tls_roots: str | None = None
    tls_client_cert: str | None = None
    tls_client_key: str | None = None
    token: str | None = field(default=None, repr=False)
    encodings: str | None = None

    def tls(self) -> grpc.ChannelCredentials | None:
        """None: plain text.

        Raises:
            ValueError: A file can't be used.
        """
        if self.tls_roots is None:
            if self.tls_client_cert is not None or self.tls_client_key is not None:
                raise ValueError("--tls-client-cert and --tls-client-key need --tls-roots")
            return None
        cert, key = self.tls_client_cert, self.tls_client_key
        return tls_credentials(self.tls_roots, client_cert=cert, client_key=key)

    def decodes(self) -> Encodings | None:
        """What payloads are encoded and decoded by. None: by nothing.

        Raises:
            Refused: The module can't be imported, or has no such encodings.
        """
        if self.encodings is None:
            return None
        from jobqueue import Encodings

        module, name = imported(self.encodings, "MODULE:NAME, such as shop.encoded:ENCODINGS")
        found = getattr(module, name) if name else None
        if not isinstance(found, Encodings):
            raise Refused("should be MODULE:NAME of an Encodings", where=self.encodings)
        return found


#: Those of this run.
credentials: ContextVar[Credentials] = ContextVar("credentials", default=Credentials())  # noqa: B039 - frozen


def _given(
    server: Annotated[str | None, typer.Option("--server", **_SERVER)] = None,
    deadline: Annotated[str | None, typer.Option("--deadline", **_DEADLINE)] = None,
    as_json: Annotated[bool | None, typer.Option("--json", **_JSON)] = None,
    tls_roots: Annotated[str | None, typer.Option("--tls-roots", **_TLS_ROOTS)] = None,
    tls_client_cert: Annotated[str | None, typer.Option("--tls-client-cert", **_TLS_CLIENT_CERT)] = None,
    tls_client_key: Annotated[str | None, typer.Option("--tls-client-key", **_TLS_CLIENT_KEY)] = None,
    token: Annotated[str | None, typer.Option("--token", **_TOKEN)] = None,
    encodings: Annotated[str | None, typer.Option("--encodings", **_ENCODINGS)] = None,
) -> dict[str, Any]:
    """What stands before a command, and may stand after it as well."""
    every = {
        "server": server,
        "deadline": deadline,
        "as_json": as_json,
        "tls_roots": tls_roots,
        "tls_client_cert": tls_client_cert,
        "tls_client_key": tls_client_key,
        "token": token,
        "encodings": encodings,
    }
    return {name: value for name, value in every.items() if value is not None}


def _credentials(
    tls_roots: Annotated[
        str | None, typer.Option("--tls-roots", envvar="JOBQUEUE_TLS_ROOTS", **_TLS_ROOTS)
    ] = None,
    tls_client_cert: Annotated[
        str | None, typer.Option("--tls-client-cert", envvar="JOBQUEUE_TLS_CLIENT_CERT", **_TLS_CLIENT_CERT)
    ] = None,
    tls_client_key: Annotated[
        str | None, typer.Option("--tls-client-key", envvar="JOBQUEUE_TLS_CLIENT_KEY", **_TLS_CLIENT_KEY)
    ] = None,
    token: Annotated[str | None, typer.Option("--token", envvar="JOBQUEUE_TOKEN", **_TOKEN)] = None,
    encodings: Annotated[str | None, typer.Option("--encodings", **_ENCODINGS)] = None,
) -> Credentials:
    """What every command takes beside its own options."""
    return Credentials(tls_roots, tls_client_cert, tls_client_key, token, encodings)


def group(function: Callable[..., None]) -> Callable[..., None]:
    """A group of commands, which keeps for them the options that stand before them."""

    def run(ctx: typer.Context, **values: Any) -> None:
        given = {name: values.pop(name) for name in _parameters(_given)}
        # Of a group in a group the inner one stands nearer to the command.
        ctx.obj = (ctx.obj or {}) | _given(**given)
        function(**values)

    return _taking(run, function, _given)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command. An option after it counts, then one before it, then the environment, then the default."""

    def run(ctx: typer.Context, **values: Any) -> None:
        for name, value in ctx.obj.items():
            source = ctx.get_parameter_source(name)
            if source is None or source.name != "COMMANDLINE":
                values[name] = value
        credentials.set(_credentials(**{name: values.pop(name) for name in _parameters(_credentials)}))
        function(**values)

    return _taking(run, function, _credentials)


def _parameters(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)


def _taking(
    run: Callable[..., None], function: Callable[..., None], more: Callable[..., object]
) -> Callable[..., None]:
    """`run` with the parameters of both functions, as typer reads them."""
    parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for each in (function, more):
        for parameter in inspect.signature(each, eval_str=True).parameters.values():
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    functools.update_wrapper(run, function)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@contextmanager
def connected(server: str, deadline: str, as_json: bool, *, decodes: bool = True) -> Iterator[SyncClient]:
    """A client for a command, whose errors are told. One that does not decode has no encodings."""
    with told(server, as_json):
        given = credentials.get()
        tries = values.duration(deadline, "--deadline")
        with SyncClient(
            server,
            credentials=given.tls(),
            token=given.token,
            deadline=tries,
            encodings=given.decodes() if decodes else None,
        ) as client:
            yield client


@contextmanager
def told(server: str, as_json: bool) -> Iterator[None]:
    """What a person can mend is said without a traceback, and ends the command."""
    try:
        yield
    except (JobQueueError, Refused) as error:
        fail(error, as_json=as_json, server=server)
    except (Encoded, EncodingUnknown, KeyUnknown) as error:
        fail(Refused(str(error), where="--encodings"), as_json=as_json)
    except (TypeError, ValueError) as error:
        # What the client refuses before it asks the server: it names the argument.
        fail(Refused(str(error)), as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
