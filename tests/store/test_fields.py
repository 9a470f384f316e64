"""Each field of a job that is declared is stored, shown in the views that are declared, and delivered."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueue_server.fields import COLUMNS, FIELDS, TERMS, Type, View, terms_of, unset
from jobqueue_server.lifecycle import Hold
from jobqueue_server.model import Job, JobFilter, NewJob, RetryPolicy
from jobqueue_server.store.query.watch import Snapshot, WatchStore
from tools import fields as lists
from tools import statements

from .stored import SCOPE, Stored

#: Of each type a value that is no field's default.
OTHER: dict[Type, Any] = {
    Type.TEXT: "other",
    Type.NUMBER: 7,
    Type.MOMENT: datetime(2099, 1, 1, tzinfo=UTC),
    Type.SPAN: timedelta(seconds=7),
    Type.RETRY_POLICY: RetryPolicy(timedelta(seconds=2), timedelta(seconds=60)),
    Type.TEXTS: {"other": "value"},
    Type.JSON: b'"other"',
    Type.HOLD: Hold.HAND,
}
# A delay is stored as run_at.
ASKED = [field for field in FIELDS if field.asked and field.shown]
NOTHING_TOLD, ALL_TOLD = Snapshot(3, 3), Snapshot(1 << 62, 1 << 62)


def whole_job() -> NewJob:
    return NewJob(**{field.name: OTHER[field.type] for field in ASKED})


async def views(s: Stored, job_id: Any) -> dict[str, tuple[Job, View]]:
    """The job, in every way in which one can be read."""
    watch = WatchStore(s.database)
    read: dict[str, tuple[Job, View]] = {}
    for view in View:
        full = view is View.FULL
        got = await s.reads.get(SCOPE, job_id, full=full)
        listed = (await s.reads.list(SCOPE, JobFilter(), size=10, before=None, full=full)).jobs
        watched = await watch.watch_jobs([job_id], NOTHING_TOLD, ALL_TOLD, full=full)
        for way, job in (("get", got), ("list", listed[0]), ("watch", watched[0])):
            assert job is not None
            assert job.id == job_id
            read[f"{way} {view.name}"] = job, view
    return read


async def test_each_field_that_is_asked_for_is_read_back_in_each_view_that_shows_it(s: Stored) -> None:
    new = whole_job()
    for way, (job, view) in (await views(s, await s.queued(new))).items():
        for field in ASKED:
            left_out = field.shown is View.FULL and view is View.BASIC
            value = getattr(job, field.name)
            assert not value if left_out else value == getattr(new, field.name), f"{field.name}: {way}"


async def test_each_field_that_is_left_out_is_read_back_as_its_default(s: Stored) -> None:
    given = {"kind", "payload", "run_at", "max_attempts"}
    for way, (job, _) in (await views(s, await s.queued())).items():
        assert job.max_attempts == 3
        for field in ASKED:
            if field.name not in given:
                assert getattr(job, field.name) == unset(field.name), f"{field.name}: {way}"


async def test_a_job_that_is_retried_keeps_each_field(s: Stored) -> None:
    new = dataclasses.replace(whole_job(), run_at=None, hold=None)
    job_id, attempt, session_id = await s.running(new)
    assert await s.succeed(job_id, attempt, session_id)
    before = await s.reads.get(SCOPE, job_id)
    await s.changes.retry(SCOPE, job_id)
    after = await s.reads.get(SCOPE, job_id)
    assert before is not None
    assert after is not None
    for field in ASKED:
        if field.name != "run_at":
            assert getattr(before, field.name) == getattr(after, field.name) == getattr(new, field.name), (
                field
            )
    live = await s.sql.fetchrow("select * from live_job where id = $1", job_id)
    body = await s.sql.fetchrow("select * from job where id = $1", job_id)
    for column in COLUMNS:
        if column.live:
            assert live[column.name] == body[column.name]


@pytest.mark.parametrize(
    "new", [NewJob("hello", b"1"), whole_job()], ids=["nothing given", "everything given"]
)
async def test_a_claim_delivers_what_a_hand_off_delivers(s: Stored, new: NewJob) -> None:
    row = await s.row(new)
    await s.intake.enqueue([row])
    (body,) = await s.claims.bodies([row.id])
    assert list(body.keys()) == ["id", "payload", "key", *(column.name for column in TERMS)]
    assert body["key"] == new.key
    assert body[3:] == terms_of(row)


async def test_the_table_of_jobs_has_the_columns_that_are_declared(s: Stored) -> None:
    rows = await s.sql.fetch(
        "select attrelid::regclass::text as table, attname as name, atttypid::regtype::text as type "
        "from pg_attribute where attrelid in ('job'::regclass, 'live_job'::regclass) and attnum > 0 "
        "and not attisdropped"
    )
    long = {"smallint": "int2", "integer": "int4", "bigint": "int8"}
    types = {(row["table"], row["name"]): long.get(row["type"], row["type"]) for row in rows}
    by_hand = {"id", "run_at", "lane_id", "content_type", "payload"}
    declared = {column.name for column in COLUMNS}
    assert {name for table, name in types if table == "job"} == declared | by_hand
    for column in COLUMNS:
        assert types["job", column.name] == column.type
        assert (("live_job", column.name) in types) == column.live


# ---- the lists of columns in the statements


def test_every_list_that_can_be_made_stands_in_a_statement_and_every_mark_has_its_end() -> None:
    used: set[str] = set()
    for path in (*lists.STORE.rglob("*.sql"), *lists.STORE.rglob(f"*{statements.FRAME}")):
        text = path.read_text()
        found = list(lists.MARKED.finditer(text))
        assert len(found) == text.count("-- fields: ") == text.count("-- end of fields"), path.name
        used.update(lists.known(each["list"]) for each in found)
    assert used == set(lists.LISTS)


def test_a_list_that_a_hand_changed_is_found_and_written_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    text = (lists.STORE / "claim/sql/bodies.sql").read_text()
    path = tmp_path / "sql" / "bodies.sql"
    path.parent.mkdir()
    path.write_text(text.replace("labels::text as labels, ", ""))
    monkeypatch.setattr(statements, "STORE", tmp_path)
    assert dict(statements.stale()) == {path: text}
    path.write_text(text.replace("fields: delivered", "fields: sent"))
    with pytest.raises(ValueError, match="there is no list `sent`; there are: parameters, "):
        statements.stale()


def test_a_new_column_goes_into_each_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an enqueue and each read would need it."""
    label = next(field for field in FIELDS if field.name == "labels")
    (column,) = label.columns
    colour = dataclasses.replace(
        label, name="colour", type=Type.TEXT,
        columns=(dataclasses.replace(column, name="colour", type="text", sent="", of="new.colour"),),
    )  # fmt: skip
    monkeypatch.setattr(lists, "FIELDS", (*FIELDS, colour))
    monkeypatch.setattr(lists, "COLUMNS", (*COLUMNS, *colour.columns))
    texts = {path.stem: text for path, text in statements.stale().items()}
    number = lists.FIRST_PARAMETER + len(COLUMNS)
    assert texts.keys() == {
        # Fragments, then statements.
        "body-as-seen",
        "bytes-as-seen",
        "bodies",
        "enqueue",
        "enqueue_counted",
        "enqueue_limited",
        "enqueue_named",
        "get_job",
        "get_jobs",
        "list_jobs",
        "watch_jobs",
    }
    assert (
        f"-- ${number} colour text[]" in texts["enqueue"] or f"  ${number} colour text[]" in texts["enqueue"]
    )
    assert f"(${number}::text[])[run]," in texts["enqueue"]
    for name in ("list_jobs", "watch_jobs"):
        assert "j.colour," in texts[name]
        assert "+ coalesce(octet_length(d.colour), 0)" in texts[name]
