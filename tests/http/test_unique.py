"""Unique jobs over REST: 200 and a header where another job is kept, 409 where this one asked to be rejected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.lease.place import Place

from .conftest import Caller

ONCE = {"key": "user-7"}


@pytest.fixture
async def caller(dsn: str) -> AsyncIterator[Caller]:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        caller = Caller(place.app.http_port)
        yield caller
        await caller.session.close()


def job(unique: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": "work", "unique": unique, **more}


async def test_a_kept_job_is_200_and_a_header_says_so(caller):
    first = await caller("POST", "/v1/jobs", job(ONCE, payload={"n": 1}))
    assert (first.status, "unique-action" in first.headers) == (201, False)
    assert first.json["unique_key"] == "user-7"
    second = await caller("POST", "/v1/jobs", job(ONCE, payload={"n": 2}))
    assert (second.status, second.headers["unique-action"]) == (200, "kept")
    assert "idempotency-replayed" not in second.headers
    assert (second.json["id"], second.json["payload"]) == (first.json["id"], {"n": 1})


async def test_a_batch_says_of_each_job_whether_another_was_kept(caller):
    jobs = [job({}, payload=1), job({}, payload=1), job({}, payload=2)]
    answer = await caller("POST", "/v1/jobs:batchEnqueue", {"jobs": jobs})
    results = answer.json["results"]
    assert [each.get("unique_action") for each in results] == [None, "KEPT", None]
    assert results[0]["id"] == results[1]["id"] != results[2]["id"]


async def test_a_job_that_was_changed_is_200_and_a_header_says_how(caller):
    first = await caller("POST", "/v1/jobs", job(ONCE, payload={"n": 1}))
    replaced = await caller("POST", "/v1/jobs", job({**ONCE, "on_conflict": "REPLACE"}, payload={"n": 2}))
    assert (replaced.status, replaced.headers["unique-action"]) == (200, "replaced")
    assert (replaced.json["id"], replaced.json["payload"]) == (first.json["id"], {"n": 2})
    moved = await caller("POST", "/v1/jobs", job({**ONCE, "on_conflict": "DEBOUNCE"}, delay="600s"))
    assert (moved.status, moved.headers["unique-action"]) == (200, "debounced")
    assert moved.json["run_at"] > first.json["run_at"]
    assert moved.json["payload"] == {"n": 2}


async def test_a_rejected_job_is_409_and_names_the_other_one(caller):
    first = await caller("POST", "/v1/jobs", job(ONCE))
    answer = await caller("POST", "/v1/jobs", job({**ONCE, "on_conflict": "REJECT"}))
    assert answer.status == 409
    info = next(each for each in answer.json["details"] if each["@type"].endswith("ErrorInfo"))
    assert (info["reason"], info["metadata"]) == ("DUPLICATE", {"job_id": first.json["id"]})


@pytest.mark.cases(4)
@pytest.mark.parametrize(
    ("unique", "more", "field", "says"),
    [
        ({"key": ""}, {"payload": "x" * 70_000}, "key", "is required for a payload of 70002 bytes"),
        ({"key": "k" * 256}, {}, "key", "must be 1 to 255 characters"),
        ({"key": "k", "payload_fields": ["/a"]}, {}, "payload_fields", "must be empty where `key` is set"),
        ({"payload_fields": ["a"]}, {}, "payload_fields[0]", "such as /user/id"),
        ({"payload_fields": ["/a", "/~"]}, {}, "payload_fields[1]", "with ~1 for /"),
        ({"payload_fields": ["/a"] * 17}, {}, "payload_fields", "must be at most 16 pointers, not 17"),
        ({"until": "PERIOD"}, {}, "period", "is required with `until` PERIOD"),
        ({"period": "0.5s"}, {}, "period", "must be from 1 s to 400 days"),
        ({"period": "34560001s"}, {}, "period", "must be from 1 s to 400 days"),
        ({"scope": 9}, {}, "scope", "must be one of KIND, QUEUE_AND_KIND, QUEUE, NAMESPACE"),
        ({"until": 9}, {}, "until", "must be one of STARTS, ENDS, PERIOD"),
        ({"on_conflict": 9}, {}, "on_conflict", "must be one of KEEP, REJECT, REPLACE, DEBOUNCE"),
        ({"key": ""}, {"payload": "x" * 1_048_574}, "key", "is required for a payload of 1048576 bytes"),
        (
            {"replace": ["PAYLOAD"]},
            {},
            "replace",
            "must be empty unless `on_conflict` is REPLACE or DEBOUNCE",
        ),
        ({"on_conflict": "REPLACE", "scope": "QUEUE"}, {}, "scope", "a job never changes its kind"),
        ({"on_conflict": "DEBOUNCE"}, {}, "on_conflict", "DEBOUNCE wants `delay` of the job, such as 2s"),
        ({"on_conflict": "DEBOUNCE", "max_delay": "1s"}, {"delay": "2s"}, "max_delay", "must be from 2 s to"),
        ({"max_delay": "1s"}, {}, "max_delay", "must be unset unless `on_conflict` is DEBOUNCE"),
        ({"cancel_running": True}, {}, "cancel_running", "must be false: this one would have to start after"),
    ],
)
async def test_what_is_wrong_with_a_name_is_said_where_it_stands(caller, unique, more, field, says):
    answer = await caller("POST", "/v1/jobs", job(unique, **more))
    assert answer.status == 400, answer.text
    bad = next(each for each in answer.json["details"] if each["@type"].endswith("BadRequest"))
    (violation,) = bad["field_violations"]
    assert violation["field"].endswith(f"unique.{field}"), violation
    assert says in violation["description"], violation
