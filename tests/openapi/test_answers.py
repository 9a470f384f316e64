"""Each operation answers as its document says: where it succeeds, and with the errors that a caller can bring about."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.http.conftest import Caller

from .checked import Checked
from .conftest import Document, operations

JOB = {"kind": "send_email", "payload": {"to": "ada@example.org", "subject": "s", "body": "b"}}


@pytest.fixture
def checked(document: Document, call: Caller) -> Checked:
    return Checked(document, call)


@pytest.mark.slow
async def test_each_operation_succeeds_as_it_is_told(checked: Checked, document: Document) -> None:
    made = await checked("EnqueueJob", JOB, {"Idempotency_Key": "k", "X_Request_Id": "r"})
    assert made.status == 201
    job = made.json["id"]
    assert made.headers["Location"] == f"/v1/jobs/{job}"
    assert (await checked("EnqueueJob", JOB, {"Idempotency_Key": "k"})).status == 200
    await checked("BatchEnqueueJobs", {"jobs": [{**JOB, "delay": "60s"}, {**JOB, "queue": "later"}]})
    await checked("GetJob", id=job)
    await checked("ExplainJob", id=job)
    await checked("ListJobs", status="queued", view="JOB_VIEW_FULL", page_size="1")
    assert (await checked("WaitJob", id=job, timeout="0s")).json["status"] == "QUEUED"

    hello = {"worker": "w", "subscriptions": [{"kinds": ["send_email"]}]}
    token = (await checked("OpenSession", hello)).json["session_token"]
    claimed = (await checked("ClaimJobs", {"session_token": token, "max_jobs": 1})).json["jobs"]
    assert [each["id"] for each in claimed] == [job]
    lease = {"job_id": job, "attempt": claimed[0]["attempt"]}
    await checked("HeartbeatSession", {"session_token": token, "held": {"leases": [lease]}})
    worker = (await checked("ListWorkers", page_size="1")).json["workers"][0]["session_id"]
    assert (await checked("GetWorker", session_id=worker)).json["state"] == "CONNECTED"
    assert (await checked("DrainWorker", {"reason": "r"}, session_id=worker)).json["state"] == "DRAINING"
    cancelling = await checked("CancelJob", {"reason": "why"}, id=job)
    assert (cancelling.status, cancelling.json["pending"]) == (202, True)
    outcome = {**lease, "failure": {"error": "no"}}
    settled = await checked("SettleJobs", {"session_token": token, "outcomes": [outcome]})
    assert [each["status"] for each in settled.json["results"]] == ["CANCELLED"]
    await checked("CloseSession", {"session_token": token})

    assert (await checked("RetryJob", {}, id=job)).json["status"] == "QUEUED"
    assert (await checked("CancelJob", {}, id=job)).status == 200
    held = (await checked("EnqueueJob", {**JOB, "hold": True})).json
    assert held["hold"] == "HAND"
    assert "hold" not in (await checked("ReleaseJob", {}, id=held["id"])).json
    watched = await checked("WatchJobs", None, {"Accept": "application/json"}, ids=job)
    assert watched.json[-1]["job"]["status"] == "CANCELLED"
    for form in ("application/x-ndjson", "text/event-stream"):
        watched = await checked("WatchJobs", None, {"Accept": form}, ids=job)
        assert watched.headers["Content-Type"].startswith(form)
    await checked("DeleteJob", id=job)

    for verb in ("Retry", "Cancel", "Delete"):
        chosen = {"filter": {"queue": "nobodys"}}
        assert (await checked(f"{verb}Jobs", chosen)).json["metadata"]["dry_run"] is True
        begun = await checked(f"{verb}Jobs", {**chosen, "force": True})
        assert begun.status == 202
        name = begun.json["name"].removeprefix("operations/")
        await checked("GetOperation", name=name)
        assert (await checked("WaitOperation", name=name, timeout="30s")).json["done"] is True
        await checked("CancelOperation", {}, name=name)
        await checked("ResumeOperation", {}, id=name)
    await checked("ListOperations")
    await checked("DeleteOperation", name=name)

    changes = {"filter": {"queue": "nobodys"}, "priority": 0}
    assert (await checked("UpdateJobs", changes)).json["metadata"]["verb"] == "UpdateJobs"
    assert (await checked("UpdateJobs", {**changes, "force": True, "expected": "0"})).status == 202

    await checked("ListQueues")
    await checked("GetQueue", name="later")
    await checked("GetQueueDemand", queue="later")
    assert (await checked("GetOverview")).json["queues"]
    assert (await checked("ListServers")).json["servers"][0]["self"] is True
    assert (await checked("CountJobs", status="SUCCEEDED")).json["exact"] is True
    assert (await checked("QueryStats", group_by="GROUP_BY_QUEUE", step="60s")).json["step"] == "60s"
    await checked("PauseQueue", {"reason": "a test"}, name="later")
    await checked("ResumeQueue", {}, name="later")
    await checked(
        "UpdateQueue",
        {
            "key_policy": {"rate": {"count": 1, "period": "1s"}, "fair": True},
            "retention": {"succeeded": "3600s"},
        },
        name="later",
    )
    await checked("ListQueueKeys", only="WAITING", order_by="waiting desc", queue="later")
    await checked("UpdateQueueKey", {"max_running": 5, "paused": True}, queue="later", key="a%2Fb%20c%3Ad")
    await checked("GetQueueKey", queue="later", key="a%2Fb%20c%3Ad")
    ordered = {"key_policy": {"order": "KEY_ORDER_STRICT", "on_failure": "ON_KEY_FAILURE_HOLD"}}
    await checked("UpdateQueue", ordered, name="ordered", allow_missing="true")
    stopped = (await checked("EnqueueJob", {**JOB, "queue": "ordered", "key": "a/b c:d"})).json["id"]
    await checked("CancelJob", {}, id=stopped)
    assert (await checked("UnblockQueueKey", {}, queue="ordered", key="a%2Fb%20c%3Ad")).json[
        "blocked_by"
    ] == stopped
    schedule = {"spec": {"cron": ["0 0 1 1 *"]}, "job": JOB, "labels": {"team": "a"}}
    made = await checked("CreateSchedule", {"name": "yearly", **schedule})
    assert made.headers["Location"] == "/v1/schedules/yearly"
    await checked("GetSchedule", name="yearly")
    await checked("UpdateSchedule", {"policy": {"overlap": "ALLOW", "keep_runs": 5}}, name="yearly")
    assert (await checked("RunSchedule", {}, name="yearly")).json["outcome"] == "FIRED"
    await checked("ListSchedules", page_size="1", paused="false")
    await checked("ListScheduleRuns", name="yearly")
    await checked(
        "PreviewSchedule", {"spec": {"cron": ["30 2 * * *"], "time_zone": "Europe/Berlin"}, "count": 2}
    )
    past = {"start_at": "2020-01-01T00:00:00Z", "end_at": "2021-01-01T00:00:00Z"}
    counted = await checked("BackfillSchedule", {**past, "validate_only": True}, name="yearly")
    assert counted.json["metadata"]["estimate"] == "1"
    begun = await checked("BackfillSchedule", past, name="yearly")
    assert begun.status == 202
    backfill = begun.json["name"].removeprefix("operations/")
    done = await checked("WaitOperation", name=backfill, timeout="30s")
    assert done.json["response"]["fired"] == "1"
    await checked("PauseSchedule", {"note": "a test"}, name="yearly")
    await checked("ResumeSchedule", {}, name="yearly")
    await checked("DeleteSchedule", name="yearly")
    await checked("PutKind", {"schema": {"type": "object"}, "retry_policy": {"min_backoff": "2s"}}, name="a")
    await checked("ListKinds", page_size="1")

    await checked("GetAccess")
    grants = [{"permissions": ["READ"], "queues": ["mail*"], "payloads": True}]
    made = await checked("CreateKey", {"name": "n", "grants": grants, "expires_in": "60s"})
    key = made.json["key"]["id"]
    await checked("GetKey", id=key)
    await checked("ListKeys", page_size="1")
    await checked("RotateKey", {"grace": "0s"}, id=key)
    await checked("RevokeKey", {"reason": "r"}, id=key)
    put = await checked("PutIdentity", {"kind": "jwt", "pattern": "mailer", "grants": grants})
    await checked("ListIdentities", page_size="1")
    await checked("DeleteIdentity", id=put.json["id"])
    await checked("CreateNamespace", {"name": "team-a"})
    await checked("ListNamespaces")
    await checked("DisableNamespace", {}, name="team-a")
    await checked("EnableNamespace", {}, name="team-a")
    await checked("ListAudit")
    for name, (_, _, said) in operations(document).items():
        if said["tags"] == ["ops"]:
            await checked(name)

    successes = {
        (name, int(status))
        for name, (*_, said) in operations(document).items()
        for status in said["responses"]
        if status < "300"
    }
    # A stream without an end; docs/rest.md, whose calls are typed, reads it.
    assert checked.seen == successes - {("WatchOverview", 200)}


async def test_errors_are_those_that_are_told(checked: Checked, call: Caller) -> None:
    nobody = str(uuid4())
    for name in ("GetJob", "ExplainJob", "RetryJob", "ReleaseJob", "CancelJob", "DeleteJob", "WaitJob"):
        assert (await checked(name, id=nobody)).status == 404
        assert (await checked(name, id="1")).status == 400
    job = (await checked("EnqueueJob", JOB, {"Idempotency_Key": "k"})).json["id"]
    assert (await checked("EnqueueJob", {**JOB, "priority": 1}, {"Idempotency_Key": "k"})).status == 409
    assert (await checked("EnqueueJob", {"kind": "send_email", "payload": {}})).status == 422
    assert (await checked("EnqueueJob", {"kind": "send_mail"})).reason == "KIND_UNKNOWN"
    assert (await checked("DeleteJob", id=job)).status == 409
    assert (await checked("RetryJob", id=job)).status == 409
    assert (await checked("ReleaseJob", id=job)).reason == "JOB_NOT_HELD"
    assert (await checked("CancelJob", id=job)).status == 200
    assert (await checked("CancelJob", id=job)).status == 409
    assert (await checked("ListJobs", page_token="1")).reason == "PAGE_TOKEN_INVALID"
    assert (await checked("GetQueue", name="nobodys")).status == 404
    assert (await checked("ClaimJobs", {"session_token": "no"})).reason == "SESSION_UNKNOWN"
    assert (await checked("WatchJobs", None, {"Accept": "text/html"})).status == 406
    assert (await checked("WatchJobs", ids=nobody)).status == 404
    assert (await checked("GetJob", None, {"Grpc_Timeout": "1n"}, id=job)).status == 504
    assert (await checked("EnqueueJob", None, {"Content_Type": "text/plain"})).status == 400
    large = await call("POST", "/v1/jobs", b'{"payload": "' + b"x" * (1 << 20) + b'", "kind": "send_email"}')
    checked.hold("EnqueueJob", large)
    assert large.status == 413
    form = await call("POST", "/v1/jobs", b"{}", Content_Type="text/plain")
    checked.hold("EnqueueJob", form)
    assert form.status == 415
    for name, path in (("ListJobs", "/v1/jobs"), ("Health", "/health")):
        elsewhere = await call("GET", path, Host="elsewhere.example")
        checked.hold(name, elsewhere)
        assert elsewhere.status == 421
    foreign = await call("GET", "/v1/jobs", Origin="https://elsewhere.example")
    checked.hold("ListJobs", foreign)
    assert foreign.status == 403


async def test_the_examples_of_bodies_are_taken(checked: Checked, document: Document) -> None:
    job = (await checked("EnqueueJob", JOB)).json["id"]
    paths = {"CancelJob": {"id": job}, "PutKind": {"name": "resize_photo"}}
    tried = set()
    for name, (_, _, said) in operations(document).items():
        schema = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        known = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
        for example in known.get("examples", []):
            answer = await checked(name, example, **paths.get(name, {}))
            assert answer.status in (200, 201)
            told = said["responses"][str(answer.status)]["content"]["application/json"].get("example")
            if name == "PutKind":
                assert answer.json == told
            elif told is not None:
                assert set(answer.json) == set(told)
            tried.add(name)
    assert tried == {
        *(
            "EnqueueJob",
            "BatchEnqueueJobs",
            "CancelJob",
            "OpenSession",
            "PutKind",
            "CreateKey",
            "PutIdentity",
            "CreateNamespace",
        )
    }


async def test_the_example_of_an_error_is_what_is_answered(call: Caller, document: Document) -> None:
    answer = await call("POST", "/v1/jobs", {"kind": "send_email", "paylod": {}})
    told = operations(document)["EnqueueJob"][2]["responses"]["400"]["content"]["application/json"]
    assert answer.json == told["example"]
