"""No key, token of a session or password is in the database, a log, a metric, an error or the `repr` of an object."""

from __future__ import annotations

import gc
import io
import logging
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grpc.aio
import pytest

from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue.v1 import access_pb2, jobqueue_pb2, lease_pb2
from jobqueue_server import logs
from jobqueue_server.bootstrap import BootstrapRefused, first_key
from jobqueue_server.core.access import keys
from jobqueue_server.core.access.failures import FailedAttempts
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.store.migrate import MigrationError
from tests.http.conftest import Caller as RestCaller

from .house import ALL, House, grant

PASSWORD = "correct-horse-battery-staple"
OURS = ("jobqueue_server", "grpc_http2")
_WORK = pb.Grant(permissions=[access_pb2.Access.WORK, access_pb2.Access.ENQUEUE])


@contextmanager
def logged(level: str) -> Iterator[io.StringIO]:
    """All that is logged meanwhile."""
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in OURS]
    handlers, root_level, own = root.handlers[:], root.level, [each.level for each in ours]
    stream = io.StringIO()
    logs.configure(level, "json", stream)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(root_level)
        for each, before in zip(ours, own, strict=True):
            each.setLevel(before)
        logging.captureWarnings(False)


class Secrets:
    """What must not be told, and what was told."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._told: list[tuple[str, str]] = []

    def add(self, *texts: str) -> None:
        """Secrets. Of a key its secret part is one too, whatever stands before it."""
        for text in texts:
            self._texts.add(text[14:] if keys.id_of(text) else text)

    def tell(self, where: str, text: object) -> None:
        """Something that others may see."""
        self._told.append((where, str(text)))

    def found(self) -> list[str]:
        """Where a secret was told: one of those that are known, or whatever is a key by its checksum."""
        return [where for where, text in self._told for form in _forms(text) if self._is_told(form)]

    def _is_told(self, text: str) -> bool:
        return any(secret in text for secret in self._texts) or any(
            keys.id_of(each) for each in re.findall(keys.PATTERN, text)
        )


def _forms(text: str) -> Iterator[str]:
    """A text, and what is in it as hex digits, as PostgreSQL shows bytes."""
    yield text
    for digits in re.findall(r"(?:[0-9a-f]{2}){16,}", text):
        yield bytes.fromhex(digits).decode("latin-1")


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def with_password(dsn: str, secrets: Secrets) -> str:
    """The database, reached with a password."""
    parts = urlsplit(dsn)
    password = parts.password or PASSWORD
    secrets.add(password)
    user = parts.username or "postgres"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))


@pytest.mark.slow
async def test_no_secret_is_in_the_database_a_log_a_metric_an_error_or_a_repr(
    dsn: str, with_password: str, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The filter of log lines would hide what is looked for.
    monkeypatch.setattr(logs, "_without_keys", lambda line: line)
    # All callers here have one address.
    monkeypatch.setattr(FailedAttempts, "refuses", lambda *_: False)
    # What other tests left has no secret of this one. It is held, so that no new object has the id of an old one.
    before = _ours()
    with logged("debug") as stream:
        async with House(with_password, http_addr="127.0.0.1:0", metrics_addr="127.0.0.1:0") as house:
            await _use_keys(house, secrets)
            await _use_the_first_key(with_password, secrets)
            await _break(house, secrets, monkeypatch)
            await _look_around(house, dsn, secrets, before)
    secrets.tell("log", stream.getvalue())
    assert "it broke with" in stream.getvalue()
    assert '"level": "debug"' in stream.getvalue()
    assert set(secrets.found()) == set()


async def _use_keys(house: House, secrets: Secrets) -> None:
    """Keys are made, used, wrong, rotated, expired and revoked, over both transports."""
    rest = RestCaller(house.app.http_port)
    minted = await house.key(grant(ALL))
    admin, secret = house.with_key(minted.text), minted.text
    made = await admin.access.CreateKey(pb.CreateKeyRequest(name="worker", grants=[_WORK]))
    rotated = await admin.access.RotateKey(pb.RotateKeyRequest(id=made.key.id))
    ended = (await house.key(grant(ALL), lifetime=timedelta(microseconds=1))).text
    revoked = await house.key(grant(ALL))
    await house.revoke(revoked)
    await house.known()
    wrong = minted.text[:-1] + ("0" if minted.text[-1] != "0" else "1")
    secrets.add(secret, made.secret, rotated.secret, ended, revoked.text, wrong)
    for name in ("ListKeys", "GetKey", "GetAccess"):
        request = pb.GetKeyRequest(id=made.key.id) if name == "GetKey" else getattr(pb, f"{name}Request")()
        secrets.tell(name, await getattr(admin.access, name)(request))

    worker = await house.with_key(rotated.secret).worker()
    secrets.add(worker.welcome.session_token)
    hello = lease_pb2.Hello(worker="by-calls", subscriptions=[lease_pb2.Subscription(kinds=["work"])])
    opened = await admin.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=hello))
    secrets.add(opened.welcome.session_token)
    claim = lease_pb2.ClaimJobsRequest(session_token=opened.welcome.session_token + "x")
    await _tell_error(secrets, admin.stub.ClaimJobs(claim))

    for text in (secret, made.secret, rotated.secret, ended, revoked.text, wrong):
        for shown in (f"Bearer {text}", f"bearer  {text}", f"Basic {text}", f"Bearer {text} {text}", text):
            caller = house.showing(shown)
            await _tell_error(secrets, caller.enqueue())
            await _tell_error(secrets, caller.get("00000000-0000-0000-0000-000000000000"))
            for method, path in (("GET", "/v1/keys"), ("POST", "/v1/jobs"), ("GET", "/metrics")):
                body = {"kind": "work"} if method == "POST" else None
                reply = await rest(method, path, body, authorization=shown)
                secrets.tell(f"{method} {path}", f"{reply.text} {reply.headers}")
    leased = await worker.job()
    await worker.succeed(leased)
    watch = admin.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest(ids=[leased.id]))
    secrets.tell("watch", await watch.read())
    await admin.access.RevokeKey(pb.RevokeKeyRequest(id=rotated.key.id, reason="it was in a log"))
    secrets.tell("stream", (await worker.end()).error)
    await rest.session.close()


async def _use_the_first_key(dsn: str, secrets: Secrets) -> None:
    """Of the command line: the first key, and what it says of a database that refuses."""
    secrets.add((await first_key(dsn, "ops", force=True)).text)
    gone = urlunsplit(urlsplit(dsn)._replace(path="/gone"))
    for to, refusal in ((dsn, BootstrapRefused), (gone, (DatabaseAway, MigrationError, OSError))):
        with pytest.raises(refusal) as raised:
            await first_key(to, "ops", force=False)
        secrets.tell("bootstrap", f"{raised.value} {raised.value!r} {raised.value.__cause__!r}")


async def _break(house: House, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the server's own, and a database that hangs up."""

    async def broken(*args: Any, **more: Any) -> None:
        raise RuntimeError(f"it broke with {args!r} {more!r}")

    await house.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    await _tell_error(secrets, house.enqueue())
    monkeypatch.setattr(house.app.stores.access, "insert_key", broken)
    await _tell_error(secrets, house.access.CreateKey(pb.CreateKeyRequest(name="broken", grants=[_WORK])))


async def _look_around(house: House, dsn: str, secrets: Secrets, before: list[object]) -> None:
    """What is kept in the database and in memory, and what is told of it."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch(
            "select c.oid::regclass::text as name from pg_class c "
            "where c.relkind in ('r', 'm') and c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
        )
        assert {"api_key", "worker_session", "live_job"} <= {each["name"] for each in tables}
        for table in tables:
            for row in await connection.fetch(f"select t::text as row from {table['name']} t"):
                secrets.tell(f"table {table['name']}", row["row"])
        for row in await connection.fetch("select query from pg_stat_activity"):
            secrets.tell("pg_stat_activity", row["query"])
    finally:
        await connection.close()
    metrics = house.app.metrics.exposition("")[0].decode()
    assert "jobqueue_" in metrics
    secrets.tell("metrics", metrics)
    minted = keys.mint()
    secrets.add(minted.text)
    left = {id(each) for each in before}
    ours = [each for each in _ours() if id(each) not in left]
    assert {"Access", "Settings", "KeyRow", "Call", "MintedKey"} <= {type(each).__name__ for each in ours}
    for each in ours:
        secrets.tell(f"repr of {type(each).__name__}", repr(each))


def _ours() -> list[object]:
    """The objects of our packages that are alive."""
    gc.collect()
    return [each for each in gc.get_objects() if str(type(each).__module__).partition(".")[0] in OURS]


async def _tell_error(secrets: Secrets, call: Any) -> None:
    """What a call says that fails. One that does not fail says nothing."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        secrets.tell("error", f"{error.code()} {error.details()} {error.trailing_metadata()} {error!r}")


def test_what_this_looks_for_is_found(secrets: Secrets) -> None:
    key = keys.mint().text
    secrets.add(PASSWORD)
    for where, text in (
        ("text", f"a {key} there"),
        ("hex", f"\\x{key.encode().hex()}"),
        ("password", f"postgres://me:{PASSWORD}@host"),
        ("nothing", f"jq_0123456789_{string.ascii_letters[:49]}"),
    ):
        secrets.tell(where, text)
    assert secrets.found() == ["text", "hex", "password"]


def test_a_key_that_gets_into_a_log_line_is_hidden() -> None:
    minted = keys.mint()
    for form in ("json", "human"):
        stream = io.StringIO()
        with logged("info"):
            logs.configure("info", form, stream)
            try:
                raise ValueError(minted.text)
            except ValueError:
                logs.get("jobqueue_server.test").exception(f"it has {minted.text}", key=minted.text)
        assert minted.text not in stream.getvalue()
        assert stream.getvalue().count(f"jq_{minted.id}_***") >= 3
