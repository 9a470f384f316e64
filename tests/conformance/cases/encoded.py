"""What a worker with encodings makes of encrypted payloads, and what of it goes over the wire.

The key is that of docs/conformance.md: `conformance`, the bytes 0 to 31.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from jobqueue import AesGcm, Encodings
from jobqueue.encodings import Place
from jobqueue.encodings.whole import checkpoint_place
from jobqueue.v1 import lease_pb2 as pb

from ..case import case
from ..stage import Stage, id_of, job

_KEY = bytes(range(32))
_SECRET = "s3cret-7f2a"


def _encodings(key_id: str = "conformance") -> Encodings:
    return Encodings([AesGcm({key_id: _KEY}, primary=key_id)])


async def _job(
    number: int, payload: Any, kind: str = "work", key_id: str = "conformance", **fields: Any
) -> pb.LeasedJob:
    sealer = await _encodings(key_id).sealer()
    text = sealer.sealed(json.dumps(payload).encode(), Place("payload", kind))
    return job(number, payload_json=text, **{"attempt": 1, **fields})


@case(
    "encoded-roundtrip",
    "An encrypted payload and checkpoint are decoded before the handler begins; output, checkpoint and follow-ups are "
    "encrypted, each bound to its place; nothing of them is on the wire in plain text. What is in plain text is read "
    "as it is.",
    "docs/encodings.md",
    short=True,
)
async def encoded_roundtrip(stage: Stage) -> None:
    worker, stream = await stage.begin(encrypted=True, slots=8)
    data = f"half of {_SECRET}".encode()
    payload = {
        "steps": [
            {"do": "follow_up", "kind": "next", "payload": json.dumps({"more": _SECRET})},
            {"do": "succeed", "output": {"made": _SECRET}},
        ]
    }
    sealer = await _encodings().sealer()
    before = sealer.checkpoint(data, "work", id_of(1))
    stream.deliver(await _job(1, payload, attempt=2, failures=1, checkpoint=before))
    found = (await stream.outcome(1)).success
    began = await worker.event("handler_started", job=id_of(1))
    assert began["payload_sha256"] == hashlib.sha256(json.dumps(payload).encode()).hexdigest(), (
        "another payload"
    )
    assert base64.b64decode(began["checkpoint_base64"]) == data, "another checkpoint"
    opens = _encodings()
    output = await opens.opened(found.output_json, Place("output", "work", id_of(1)), encrypted=True)
    assert json.loads(output) == {"made": _SECRET}, f"the output is {output!r}"
    (follow_up,) = found.follow_ups
    more = await opens.opened(follow_up.payload_json, Place("payload", "next"), encrypted=True)
    assert json.loads(more) == {"more": _SECRET}, f"the payload of the follow-up is {more!r}"
    steps = [
        {"do": "checkpoint", "data_base64": base64.b64encode(data).decode()},
        {"do": "fail", "error": "go on"},
    ]
    stream.deliver(await _job(3, {"steps": steps}))
    await stream.outcome(3)
    (saved,) = [told.checkpoint for told in stream.all("progress") if told.HasField("checkpoint")]
    assert await opens.opened(saved, checkpoint_place("work", id_of(3)), encrypted=True) == data
    stream.deliver(job(2, {"do": "succeed", "output": 7}))
    plain = (await stream.outcome(2)).success.output_json
    assert await opens.opened(plain, Place("output", "work", id_of(2)), encrypted=True) == b"7"
    for _, frame in stream.received:
        assert _SECRET.encode() not in frame.SerializeToString(), "something was sent in plain text"


@case(
    "encoded-unreadable",
    "An envelope that is damaged, or of another kind, ends its job for good, as PayloadUnreadable; one whose key the "
    "worker lacks is snoozed, as a later version is; no handler begins.",
    "docs/encodings.md",
    short=True,
)
async def encoded_unreadable(stage: Stage) -> None:
    worker, stream = await stage.begin(encrypted=True, slots=8)
    damaged = await _job(1, {"steps": []})
    envelope = json.loads(damaged.payload_json)
    envelope["data"] = envelope["data"][:-4] + ("AAAA" if envelope["data"][-4:] != "AAAA" else "BBBB")
    damaged.payload_json = json.dumps(envelope).encode()
    other = await _job(2, {"steps": []}, kind="other")
    unknown = await _job(3, {"steps": []}, key_id="later")
    stream.deliver(damaged, other, unknown)
    found = await stream.outcomes(1, 2, 3)
    for number in (1, 2):
        name = found[number].WhichOneof("outcome")
        assert name == "failure", f"lease {number} ended as {name}"
        failure = found[number].failure
        assert failure.permanent, f"the failure of lease {number} is not permanent"
        assert failure.error_type == "PayloadUnreadable", f"the error's type is {failure.error_type!r}"
    assert found[3].WhichOneof("outcome") == "snooze", (
        f"without the key it ended as {found[3].WhichOneof('outcome')}"
    )
    began = [line["job"] for line in worker.events if line["event"] == "handler_started"]
    assert began == [], f"handlers began for {began}"
