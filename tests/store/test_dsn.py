"""What is said of a database is where it is, and never how to get in."""

from __future__ import annotations

import pytest

from jobqueue_server.errors import DatabaseAway
from jobqueue_server.store.dsn import addresses_of, cause_of, place_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql://u:hunter2@db:5433/jobs", ("db", "5433", "jobs")),
        ("postgresql://u:hunter2@db/jobs?sslmode=require", ("db", "5432", "jobs")),
        ("postgresql://u:hunt%40er2@db", ("db", "5432", "u")),
        ("postgresql://u:hunter2@a:1,b:2/jobs?target_session_attrs=read-write", ("a,b", "1,2", "jobs")),
        ("postgresql://u:hunter2@[::1]:5433/jobs", ("[::1]", "5433", "jobs")),
        ("postgresql://u:hunter2@[::1]/jobs", ("[::1]", "5432", "jobs")),
        ("postgresql:///jobs?host=/run/pg&port=7&user=u&password=hunter2", ("/run/pg", "7", "jobs")),
        ("postgresql://u@%2Frun%2Fpg/jobs", ("/run/pg", "5432", "jobs")),
        ("postgresql://u:hunter2@/?dbname=jobs", ("localhost", "5432", "jobs")),
    ],
)
def test_a_dsn_names_its_place_without_its_password(dsn, place, monkeypatch):
    for name in ("PGHOST", "PGPORT", "PGUSER"):
        monkeypatch.delenv(name, raising=False)
    found = place_of(dsn)
    assert tuple(found.values()) == place
    assert "hunter2" not in str(found)


def test_the_cause_is_the_drivers_word_in_one_line():
    away = DatabaseAway("the database does not answer")
    away.__cause__ = OSError("no\n  route")
    assert cause_of(away) == "no route"
    assert cause_of(TimeoutError()) == "no answer in time"
    assert cause_of(ConnectionResetError()) == "ConnectionResetError"


@pytest.mark.parametrize(
    ("dsn", "addresses"),
    [
        ("postgresql://u:p@a:1,b:2/jobs?target_session_attrs=read-write", [("a", 1), ("b", 2)]),
        ("postgresql://u:p@a,b:2/jobs", [("a", 5432), ("b", 2)]),
        ("postgresql://u:p@[::1]:1,[::2]/jobs?port=7", [("::1", 1), ("::2", 7)]),
        ("postgresql://u:p@/jobs?host=/run/a,/run/b&port=1,2", [("/run/a", 1), ("/run/b", 2)]),
        ("postgresql://u:p@/jobs?host=a,b", [("a", 5432), ("b", 5432)]),
        ("postgresql://u:p@a:1/jobs", []),
        ("postgresql:///jobs", []),
        ("postgresql://u@/jobs?host=a,b,c&port=1,2", []),
    ],
)
def test_the_hosts_of_a_dsn_are_those_that_the_driver_finds_in_it(dsn, addresses, monkeypatch):
    monkeypatch.delenv("PGPORT", raising=False)
    assert addresses_of(dsn) == addresses
