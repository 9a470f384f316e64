"""Settings: where they come from, what is refused, and that no secret is printed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpc_http2.limits import Limits
from jobqueue_server.durations import format_duration, parse_duration
from jobqueue_server.limits import grpc_limits
from jobqueue_server.settings import Settings, SettingsInvalid, environment_name, render_env_example

ROOT = Path(__file__).parents[2]


def test_flags_win_over_the_environment_over_the_file_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "jobqueue.toml"
    file.write_text('max_losses = 7\nsession_ttl = "7s"\nlog_level = "debug"\n')
    monkeypatch.setenv("JOBQUEUE_CONFIG", str(file))
    monkeypatch.setenv("JOBQUEUE_MAX_LOSSES", "8")
    monkeypatch.setenv("JOBQUEUE_SESSION_TTL", "8s")
    settings = Settings.load({"max_losses": "9"})
    assert settings.max_losses == 9
    assert settings.session_ttl == timedelta(seconds=8)
    assert settings.log_level == "debug"
    assert settings.cancel_grace == timedelta(seconds=30)


def test_http_has_the_environment_name_that_its_users_know(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_BIND_ADDR", "0.0.0.0:80")
    assert Settings.load().http_addr == "0.0.0.0:80"
    assert Settings.load({"http_addr": "127.0.0.1:81"}).http_addr == "127.0.0.1:81"


def test_a_list_is_written_with_commas_and_in_the_file_as_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert Settings.load().cors_origins == ()
    assert Settings.load({"cors_origins": "*"}).cors_origins == ("*",)
    file = tmp_path / "jobqueue.toml"
    file.write_text('cors_origins = ["https://a.example", "http://localhost:3000"]\n')
    both = ("https://a.example", "http://localhost:3000")
    assert Settings.load({"config": str(file)}).cors_origins == both
    monkeypatch.setenv("JOBQUEUE_CORS_ORIGINS", "https://a.example, http://localhost:3000,")
    assert Settings.load().cors_origins == both
    assert Settings.load({"cors_origins": "http://[::1]:3000"}).cors_origins == ("http://[::1]:3000",)


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("JOBQUEUE_SESSION_TTL", "")
    settings = Settings.load()
    assert settings.dsn is None
    assert settings.session_ttl == timedelta(seconds=30)


def test_every_address_is_loopback_unless_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("API_BIND_ADDR")
    settings = Settings.load()
    assert settings.grpc_addr == "127.0.0.1:50051"
    assert settings.http_addr == "127.0.0.1:8080"
    assert Settings.load({"http_addr": "off"}).http_addr is None
    assert settings.metrics_addr == "127.0.0.1:9090"
    assert Settings.load({"metrics_addr": "off"}).metrics_addr is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("session_ttl", "30", "should be a number with a unit"),
        ("session_ttl", "1s", "should be from 5s to 1h, not '1s'"),
        ("idempotency_ttl", "1h", "should be from 24h"),
        ("grpc_addr", "50051", "should be HOST:PORT"),
        ("grpc_addr", "127.0.0.1:99999", "should be HOST:PORT"),
        ("grpc_addr", "::1:50051", "goes in brackets"),
        ("http_addr", "8080", "should be HOST:PORT"),
        ("kinds", "any", "should be 'declared' or 'open', not 'any'"),
        ("db_pool_size", "many", "should be a valid integer"),
        ("max_losses", "2", "greater than or equal to 3"),
        ("cors_origins", "https://example.com/", "should be origins as browsers write them"),
        ("cors_origins", "https://Example.com", "in lower case"),
        ("cors_origins", "https://example.com:443", "the scheme's usual port"),
        ("cors_origins", "example.com", "such as https://example.com"),
        ("cors_origins", "null", "should be origins"),
        ("cors_origins", "*,https://example.com", "should be * alone"),
        ("http_hosts", "jobs.example.com:8080", "without a port"),
        ("http_hosts", "*,example.com", "should be * alone"),
        ("http_errors", "google", "should be 'status' or 'aip193'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
):
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(SettingsInvalid) as by_flag:
        Settings.load({name: value})
    monkeypatch.setenv(environment_name(name), value)
    with pytest.raises(SettingsInvalid) as by_environment:
        Settings.load()
    for raised in (by_flag, by_environment):
        assert str(raised.value).startswith(f"{environment_name(name)} ({flag}) ")
        assert message in str(raised.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(SettingsInvalid) as raised:
        Settings.load({"session_ttl": "x", "max_losses": "x"})
    assert len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sesion_ttl = "10s"', "no setting sesion_ttl; did you mean session_ttl"),
        ("session_ttl = 10", "with a unit"),
        ("session_ttl 10", "is not TOML"),
        ('config = "other.toml"', "no setting config"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_in_it(tmp_path: Path, text: str, message: str):
    file = tmp_path / "jobqueue.toml"
    file.write_text(text)
    with pytest.raises(SettingsInvalid, match=message):
        Settings.load({"config": str(file)})


def test_a_file_that_is_missing_is_an_error():
    with pytest.raises(SettingsInvalid, match="missing.toml can't be read: No such file"):
        Settings.load({"config": "missing.toml"})


def test_no_password_is_ever_printed(monkeypatch: pytest.MonkeyPatch):
    settings = Settings.load({"database_url": "postgresql://u:hunter2@db/x"})
    assert settings.dsn == "postgresql://u:hunter2@db/x"
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in text
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hunter2@db/x")
    with pytest.raises(SettingsInvalid, match="DATABASE_URL") as raised:
        Settings.load()
    assert "hunter2" not in str(raised.value)


def test_the_role_of_the_service_is_known_where_another_one_migrates():
    owner, service = "postgresql://owner@db/x", "postgresql://ser%2Dvice:p@db/x"
    assert Settings.load({"database_url": service, "migrate_database_url": owner}).service_role == "ser-vice"
    assert Settings.load({"database_url": owner, "migrate_database_url": owner}).service_role is None
    assert Settings.load({"database_url": owner}).migrate_dsn == owner


def test_env_example_lists_every_setting_with_its_default():
    assert (ROOT / ".env.example").read_text() == render_env_example(), "run `make generate`"


@given(st.integers(min_value=0, max_value=10**12))
def test_a_span_is_read_as_it_is_written(milliseconds: int):
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1500ms", 1.5), ("30s", 30), ("1h30m", 5400), ("7d", 604_800), ("0.5s", 0.5), (" 5M ", 300)],
)
def test_spans_as_people_write_them(text: str, seconds: float):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5y", "1e3s", "٣s", "nans", "9" * 400 + "d"])
def test_what_is_no_span_is_refused(text: str):
    with pytest.raises(ValueError, match=r"unit|longer"):
        parse_duration(text)


def test_what_grpc_callers_are_held_to_is_set_and_defaults_to_what_the_transport_has() -> None:
    assert grpc_limits(Settings.load()) == Limits()
    assert grpc_limits(Settings.load({"max_streams": 10})).connections == 2010
    assert grpc_limits(
        Settings.load(
            {
                "grpc_max_connections": 1,
                "grpc_preface_timeout": "2s",
                "grpc_max_unfinished": 3,
                "grpc_request_timeout": "4s",
                "grpc_stall_timeout": "5s",
                "grpc_unread_mib": 9,
                "grpc_all_unread_mib": 10,
                "grpc_held_mib": 11,
                "grpc_all_held_mib": 12,
                "grpc_reset_burst": 13,
                "grpc_reset_rate": 14,
            }
        )
    ) == Limits(
        connections=1,
        greeting=2.0,
        receiving=3,
        request=4.0,
        stall=5.0,
        connection_unread=9 << 20,
        unread=10 << 20,
        connection_held=11 << 20,
        held=12 << 20,
        reset_burst=13,
        resets_per_second=14,
    )
