"""What a server refuses to start with: each row of the table of security.py, as a command."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from jobqueue_server import security
from jobqueue_server.addresses import is_loopback
from jobqueue_server.app import App
from jobqueue_server.metrics import Metrics
from jobqueue_server.processes.metrics import GatheredMetrics
from jobqueue_server.scrape import ScrapeEndpoint
from jobqueue_server.settings import Settings, SettingsInvalid, environment_name
from jobqueue_server.store import migrate
from tests.conftest import Cluster

from .test_cli import run

TOKEN = "0123456789abcdef0123456789abcdef"
OPEN = "0.0.0.0:0"
QUIET = {"JOBQUEUE_GRPC_ADDR": "127.0.0.1:0", "API_BIND_ADDR": "off", "JOBQUEUE_METRICS_ADDR": "off"}
JWT = {
    "JOBQUEUE_AUTH": "jwt",
    "JOBQUEUE_JWT_ISSUER": "https://id.example.com",
    "JOBQUEUE_JWT_AUDIENCE": "jobqueue",
    "JOBQUEUE_JWT_JWKS_URL": "https://id.example.com/keys",
}
#: What makes each refusal of the table come about; by a name that begins with the setting that is named.
REFUSED: dict[str, dict[str, str]] = {
    "grpc_addr": {"JOBQUEUE_GRPC_ADDR": OPEN, "JOBQUEUE_AUTH": "keys"},
    "http_addr": {"API_BIND_ADDR": "[::]:0", "JOBQUEUE_AUTH": "keys"},
    "auth": {"JOBQUEUE_GRPC_ADDR": OPEN, "JOBQUEUE_INSECURE": "plaintext"},
    "auth without an authority": {"JOBQUEUE_AUTH": "mtls"},
    "auth of two sorts": {
        "JOBQUEUE_AUTH": "mtls,keys",
        "JOBQUEUE_GRPC_ENGINE": "grpcio",
        "JOBQUEUE_TLS_CLIENT_CA": "ca.pem",
    },
    "auth without its library": {**JWT, "PYTHONPATH": "without joserfc"},
    "jwt_issuer": {**JWT, "JOBQUEUE_JWT_ISSUER": ""},
    "jwt_issuer with a fragment": {**JWT, "JOBQUEUE_JWT_ISSUER": "https://id.example.com#a"},
    "jwt_issuers": {**JWT, "JOBQUEUE_JWT_ISSUERS": "issuers.toml"},
    "jwt_audience": {**JWT, "JOBQUEUE_JWT_AUDIENCE": ""},
    "jwt_jwks_url by http": {**JWT, "JOBQUEUE_JWT_JWKS_URL": "http://id.example.com/keys"},
    "jwt_jwks_url of a file": {**JWT, "JOBQUEUE_JWT_JWKS_URL": "file:///etc/keys"},
    "jwt_jwks_url that is empty": {**JWT, "JOBQUEUE_JWT_JWKS_URL": ""},
    "jwt_jwks_url that only begins as a loopback": {
        **JWT,
        "JOBQUEUE_JWT_JWKS_URL": "http://127.0.0.1.example.com/",
    },
    "metrics_addr": {"JOBQUEUE_METRICS_ADDR": OPEN, "JOBQUEUE_AUTH": "keys"},
    "reflection": {
        "JOBQUEUE_GRPC_ADDR": OPEN,
        "JOBQUEUE_AUTH": "keys",
        "JOBQUEUE_REFLECTION": "on",
        "JOBQUEUE_INSECURE": "plaintext",
    },
    "tls_client_crl": {"JOBQUEUE_TLS_CLIENT_CRL": "list.crl", "JOBQUEUE_GRPC_ENGINE": "grpcio"},
    "cors_origins": {"JOBQUEUE_CORS_ORIGINS": "*", "JOBQUEUE_AUTH": "keys"},
}


def settings_of(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {**QUIET, **environment}.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def refused(case: str, monkeypatch: pytest.MonkeyPatch) -> list[security.Rule]:
    """The rules that hold for a case."""
    with monkeypatch.context() as patch:
        if "PYTHONPATH" in REFUSED[case]:
            patch.setitem(sys.modules, "joserfc", None)
        return list(security.found(settings_of(REFUSED[case], monkeypatch)))


def test_each_refusal_of_the_table_has_its_case():
    told = set()
    for case in REFUSED:
        with pytest.MonkeyPatch.context() as monkeypatch:
            told.update(refused(case, monkeypatch))
    assert told == {rule for rule in security.RULES if not rule.warns}


@pytest.mark.parametrize("case", REFUSED)
def test_a_start_that_would_be_unsafe_ends_with_2_and_names_setting_and_remedy(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    environment = {**QUIET, **REFUSED[case]}
    if "PYTHONPATH" in environment:
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['joserfc'] = None\n")
        environment["PYTHONPATH"] = str(tmp_path)
    done = run("serve", **environment)
    (rule,) = refused(case, monkeypatch)
    assert rule.setting == case.split()[0]
    assert done.returncode == 2
    assert done.stderr == rule.text + "\n"
    assert done.stderr.startswith(environment_name(rule.setting))
    assert rule.remedy in done.stderr


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_accepted_by_its_word_is_refused_no_more(case: str, monkeypatch: pytest.MonkeyPatch):
    (rule,) = refused(case, monkeypatch)
    given = REFUSED[case].get("JOBQUEUE_INSECURE", "")
    words = {*filter(None, given.split(",")), rule.accepted_by or "plaintext"}
    settings = settings_of({**REFUSED[case], "JOBQUEUE_INSECURE": ",".join(words)}, monkeypatch)
    assert (rule in security.found(settings)) is not bool(rule.accepted_by) or "PYTHONPATH" in REFUSED[case]


def test_tokens_of_an_issuer_on_a_loopback_may_come_by_http(monkeypatch: pytest.MonkeyPatch):
    for url in ("http://127.0.0.1:8000/keys", "http://[::1]:8000/keys", "http://localhost/keys"):
        assert security.check(settings_of({**JWT, "JOBQUEUE_JWT_JWKS_URL": url}, monkeypatch)) == []


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512", "RS1", "es256"])
def test_an_algorithm_by_which_others_can_sign_is_refused(algorithm: str):
    done = run("serve", JOBQUEUE_JWT_ALGORITHMS=f"ES256,{algorithm}")
    assert done.returncode == 2
    assert done.stderr.startswith("JOBQUEUE_JWT_ALGORITHMS (--jwt-algorithms) should be a list of ES256")


def test_all_that_is_refused_is_said_at_once():
    done = run("serve", JOBQUEUE_GRPC_ADDR=OPEN, API_BIND_ADDR=OPEN, JOBQUEUE_METRICS_ADDR="off")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()] == [
        "JOBQUEUE_GRPC_ADDR",
        "API_BIND_ADDR",
        "JOBQUEUE_AUTH",
    ]


def test_a_word_that_accepts_nothing_is_refused():
    done = run("serve", JOBQUEUE_INSECURE="everything")
    assert done.returncode == 2
    assert "should be a list of plaintext, no-auth, public-metrics, public-docs" in done.stderr


def test_the_defaults_are_refused_nothing():
    assert security.check(Settings.load()) == []


def test_an_authority_of_clients_stands_for_auth(monkeypatch: pytest.MonkeyPatch):
    tls = {f"JOBQUEUE_TLS_{name}": f"{name}.pem" for name in ("CERT", "KEY", "CLIENT_CA")}
    assert security.check(settings_of({"JOBQUEUE_GRPC_ADDR": OPEN, **tls}, monkeypatch)) == []


@pytest.mark.parametrize("setting", ["tls_key", "metrics_token_file"])
def test_a_secret_that_others_can_read_is_warned_of(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (rule,) = [rule for rule in security.RULES if rule.setting == setting]
    path = tmp_path / "secret"
    path.write_text(TOKEN)
    path.chmod(0o640)
    settings = settings_of({environment_name(setting): str(path)}, monkeypatch)
    assert security.check(settings) == [rule.text]
    path.chmod(0o600)
    assert security.check(settings) == []
    # What Kubernetes mounts is root's, and the server reads it by its group; all others may not.
    path.chmod(0o440)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert security.check(settings) == []
    path.chmod(0o444)
    assert security.check(settings) == [rule.text]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("jobs.example.com", False),
    ],
)
def test_a_loopback_is_known_by_its_address(host: str, expected: bool):
    assert is_loopback(host) is expected


# ---- the token of metrics


@pytest.mark.parametrize("text", ["", "short", f"{TOKEN} {TOKEN}", "ä" * 40])
def test_a_token_that_is_none_is_refused_without_being_shown(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsInvalid, match="JOBQUEUE_METRICS_TOKEN_FILE: .* should hold") as raised:
        security.check(settings_of({"JOBQUEUE_METRICS_TOKEN_FILE": str(path)}, monkeypatch))
    assert not text or text not in str(raised.value)


def test_a_token_that_is_not_there_is_named():
    done = run("serve", **QUIET, JOBQUEUE_METRICS_TOKEN_FILE="nowhere")
    assert done.returncode == 2
    assert done.stderr == "JOBQUEUE_METRICS_TOKEN_FILE: nowhere can't be read: No such file or directory\n"


@pytest.fixture
def guarded() -> Iterator[int]:
    endpoint = ScrapeEndpoint(Metrics().pages(), TOKEN)
    yield endpoint.start("127.0.0.1:0")
    endpoint.stop()


def scraped(port: int, authorization: str | None) -> tuple[int, str]:
    headers = {} if authorization is None else {"Authorization": authorization}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, f"{error.headers['WWW-Authenticate']}: {error.read().decode()}"


@pytest.mark.cases(2)
@pytest.mark.parametrize("shown", [None, "", TOKEN, f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xff"])
def test_metrics_are_for_readers_that_show_the_token(guarded: int, shown: str | None):
    status, text = scraped(guarded, shown)
    assert status == 401
    assert text.startswith("Bearer: ")
    assert "jobqueue_sessions" not in text


def test_a_reader_that_shows_the_token_is_answered(guarded: int):
    status, text = scraped(guarded, f"Bearer {TOKEN}")
    assert status == 200
    assert "jobqueue_sessions" in text


def test_the_token_goes_for_all_processes(guarded: int):
    gathered = GatheredMetrics(lambda: {0: guarded}, TOKEN)
    port = gathered.start("127.0.0.1:0")
    try:
        assert scraped(port, None)[0] == 401
        status, text = scraped(port, f"Bearer {TOKEN}")
    finally:
        gathered.stop()
    assert status == 200
    assert 'jobqueue_process_up{process="0"} 1' in text


# ---- what the database tells


@pytest.fixture
def role(cluster: Cluster, empty_dsn: str) -> Iterator[str]:
    """A role that may log in and owns nothing."""
    name = f"service_{secrets.token_hex(4)}"
    cluster.execute(f"create role {name} login password 'secret'")
    yield name
    asyncio.run(_drop(empty_dsn, name))


async def _drop(dsn: str, role: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"drop owned by {role} cascade; drop role {role}")
    await connection.close()


async def warned(dsn: str, caplog: pytest.LogCaptureFixture, **settings: str) -> list[str]:
    """What a server warns of as it starts."""
    caplog.clear()
    given = {
        "grpc_addr": "127.0.0.1:0",
        "http_addr": "off",
        "metrics_addr": "off",
        "database_url": dsn,
        **settings,
    }
    app = App(Settings.load(given))
    await app.start()
    ahead = app.metrics.registry.get_sample_value("jobqueue_host_clock_ahead_seconds")
    await app.stop()
    assert ahead is not None
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    rules = [text for text in told if text.startswith(("DATABASE_URL", "JOBQUEUE_"))]
    return [*rules, f"ahead by {ahead:.0f} s"] if abs(ahead) > 1 else rules


async def test_a_role_that_may_do_more_than_the_service_needs_is_warned_of(
    cluster: Cluster, empty_dsn: str, role: str, caplog: pytest.LogCaptureFixture
):
    superuser, owner, _ = (rule.text for rule in security.WARNED)
    await migrate.up(empty_dsn, role)
    service = cluster.dsn_of(empty_dsn.partition("?")[0].rpartition("/")[2], user=role, password="secret")
    assert await warned(service, caplog) == []
    assert await warned(empty_dsn, caplog) == [superuser]
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute(f"alter table job owner to {role}")
    await connection.close()
    assert await warned(service, caplog) == [owner]
    assert "JOBQUEUE_MIGRATE_DATABASE_URL" in owner


@pytest.mark.parametrize("ahead", [-31.0, 31.0, 29.0])
async def test_a_clock_that_is_far_from_the_database_s_is_warned_of_where_tokens_end_by_it(
    ahead: float, dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + int(ahead * 1e9))
    superuser, _, far = (rule.text for rule in security.WARNED)
    jwt = {
        "auth": "jwt",
        "jwt_issuer": "https://id.example.com",
        "jwt_audience": "jobqueue",
        "jwt_jwks_url": "http://127.0.0.1:1/",
    }
    expected = [superuser] + ([far] if abs(ahead) > 30 else [])
    assert await warned(dsn, caplog, **jwt) == [*expected, f"ahead by {ahead:.0f} s"]
    assert far not in await warned(dsn, caplog)
