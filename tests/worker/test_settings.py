import os
from datetime import timedelta

import pytest
from pydantic import SecretStr, ValidationError

from jobqueue_worker.settings import WorkerSettings, parse_duration

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("JOBQUEUE_", "WORKER_")):
            monkeypatch.delenv(name)


def test_the_defaults_are_those_that_every_client_bakes_in():
    settings = WorkerSettings()
    assert settings.server == "127.0.0.1:50051"
    assert settings.queues == ["default"]
    assert settings.concurrency == 4
    assert settings.metrics_bind_addr == "127.0.0.1:9091"
    assert settings.shutdown_grace == timedelta(seconds=30)
    assert settings.webhook_allow == settings.image_allow == []
    assert 0 < len(settings.worker_name) <= 128


def test_the_environment_is_read_under_our_names_and_under_the_seeds(monkeypatch):
    for name, value in {
        "JOBQUEUE_SERVER": "queue:50051",
        "WORKER_CONCURRENCY": "16",
        "WORKER_METRICS_BIND_ADDR": "0.0.0.0:9191",
        "JOBQUEUE_QUEUES": "mail, images",
        "JOBQUEUE_WORKER_NAME": "w1",
        "JOBQUEUE_LOG_LEVEL": "debug",
        "JOBQUEUE_LOG_FORMAT": "json",
        "JOBQUEUE_SHUTDOWN_GRACE": "1m",
        "JOBQUEUE_WEBHOOK_ALLOW": "127.0.0.1:8099,10.0.0.0/8",
        "JOBQUEUE_WEBHOOK_SECRETS": '{"shop": "whsec_abcd"}',
        "JOBQUEUE_SMTP_PASSWORD": "hunter2",
        "JOBQUEUE_SMTP_USER": "",
    }.items():
        monkeypatch.setenv(name, value)
    settings = WorkerSettings()
    assert (settings.server, settings.concurrency, settings.metrics_bind_addr) == (
        "queue:50051",
        16,
        "0.0.0.0:9191",
    )
    assert settings.queues == ["mail", "images"]
    assert (settings.worker_name, settings.log_level, settings.log_format) == ("w1", "debug", "json")
    assert settings.shutdown_grace == timedelta(minutes=1)
    assert settings.webhook_allow == ["127.0.0.1:8099", "10.0.0.0/8"]
    assert settings.webhook_secrets == {"shop": SecretStr("whsec_abcd")}
    assert settings.smtp_user is None
    assert "hunter2" not in repr(settings)
    assert "whsec_abcd" not in repr(settings)


def test_a_flag_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("WORKER_CONCURRENCY", "16")
    monkeypatch.setenv("JOBQUEUE_SERVER", "queue:50051")
    settings = WorkerSettings(concurrency=2, server="other:1")
    assert (settings.concurrency, settings.server) == (2, "other:1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1.5s", 1.5), (" 5m ", 300), ("1h", 3600), ("2d", 172_800)],
)
def test_durations_are_a_number_and_a_unit(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("wrong", ["30", 30, "", "s", "-1s", "1 hour", "P1D", "0s"])
def test_other_durations_are_refused(wrong):
    with pytest.raises(ValidationError, match=r"duration|greater than"):
        WorkerSettings(shutdown_grace=wrong)


def test_every_setting_says_what_it_does():
    assert all(field.description for field in WorkerSettings.model_fields.values())
