"""What a worker makes of the payloads of a typed kind: of its version, an older one, a newer one, and none at all.

The kind is that of docs/conformance.md: `typed`, version 2, with the alias `typed-old`.
"""

from __future__ import annotations

import json
from typing import Any

from jobqueue.v1 import lease_pb2 as pb

from ..case import case
from ..stage import Stage, id_of, job

# No word of an error may have it: who may read errors may not always read payloads.
_SECRET = "s3cret-7f2a"


def _typed(number: int, payload: Any, version: str = "", kind: str = "typed", **fields: Any) -> pb.LeasedJob:
    given = {"x-payload-version": version} if version else {}
    text = json.dumps(payload).encode()
    return job(number, kind=kind, payload_json=text, headers=given, **{"attempt": 1, **fields})


def _output(outcome: pb.Outcome) -> Any:
    name = outcome.WhichOneof("outcome")
    assert name == "success", f"lease {outcome.lease_id} ended as {name}: {outcome.failure.error!r}"
    return json.loads(outcome.success.output_json)


@case(
    "payload-older",
    "A payload of an older version is made one of the kind's, and one without the header is of version 1; "
    "a field that is not known is passed over.",
    "docs/kinds.md",
    short=True,
)
async def payload_older(stage: Stage) -> None:
    _, stream = await stage.begin(typed=True)
    stream.deliver(
        _typed(1, {"count": 3}),
        _typed(2, {"count": 4}, "1"),
        _typed(3, {"number": 5, "unit": "ton", "later": [1]}, "2"),
    )
    found = await stream.outcomes(1, 2, 3)
    outputs = [_output(found[number]) for number in (1, 2, 3)]
    wanted = [
        {"number": 6, "unit": "one"},
        {"number": 8, "unit": "one"},
        {"number": 10, "unit": "ton"},
    ]
    assert outputs == wanted, f"the outputs are {outputs}"


@case(
    "payload-newer",
    "A payload of a later version is not decoded: its job is snoozed, longer from time to time, at most 20 times; "
    "then the attempt fails as PayloadTooNew.",
    "docs/kinds.md",
    short=True,
)
async def payload_newer(stage: Stage) -> None:
    worker, stream = await stage.begin(typed=True, slots=8)
    later = {"shape": _SECRET}
    stream.deliver(
        _typed(1, later, "3"),
        _typed(2, later, "3", attempt=5, failures=1),  # it waited four times
        _typed(3, later, "3", attempt=20),
        _typed(4, later, "3", attempt=21),
        _typed(5, {"number": 1}, "2"),
    )
    found = await stream.outcomes(1, 2, 3, 4, 5)
    for number, seconds in ((1, 15), (2, 60), (3, 120)):
        assert found[number].WhichOneof("outcome") == "snooze", (
            f"lease {number} ended as {found[number].WhichOneof('outcome')}"
        )
        waits = found[number].snooze.delay.ToMilliseconds() / 1000
        assert 0.7 * seconds <= waits <= 1.3 * seconds, f"it waits {waits:g} s, where {seconds} s are due"
    last = found[4]
    assert last.WhichOneof("outcome") == "failure", f"after 20 waits it ended as {last.WhichOneof('outcome')}"
    assert last.failure.error_type == "PayloadTooNew", f"the error's type is {last.failure.error_type!r}"
    assert not last.failure.permanent, "the failure is said to be permanent"
    assert all(each in last.failure.error for each in ("3", "2")), (
        f"{last.failure.error!r} does not say both versions"
    )
    _hides(last)
    assert _output(found[5]) == {"number": 2, "unit": "one"}
    began = [line["job"] for line in worker.events if line["event"] == "handler_started"]
    assert began == [id_of(5)], f"handlers began for {began}"


@case(
    "payload-unreadable",
    "A payload that is not what its version says ends its job for good, as PayloadUnreadable, "
    "by words that name the place and never the value; the worker goes on.",
    "docs/kinds.md",
    short=True,
)
async def payload_unreadable(stage: Stage) -> None:
    worker, stream = await stage.begin(typed=True, slots=8)
    broken = {
        1: ("number", _typed(1, {"number": _SECRET}, "2")),
        2: ("unit", _typed(2, {"number": 1, "unit": [_SECRET]}, "2")),
        3: ("number", _typed(3, {"unit": _SECRET}, "2")),
        4: ("number", _typed(4, {"count": _SECRET})),
        5: ("x-payload-version", _typed(5, {"number": 1}, _SECRET)),
    }
    stream.deliver(*(each for _, each in broken.values()))
    found = await stream.outcomes(*broken)
    for number, (place, _) in broken.items():
        outcome = found[number]
        name = outcome.WhichOneof("outcome")
        assert name == "failure", f"lease {number} ended as {name}"
        failure = outcome.failure
        assert failure.permanent, f"the failure of lease {number} is not permanent"
        assert failure.error_type == "PayloadUnreadable", f"the error's type is {failure.error_type!r}"
        assert place in failure.error, f"{failure.error!r} does not name {place}"
        _hides(outcome)
    stream.deliver(_typed(6, {"number": 3}, "2"))
    assert _output(await stream.outcome(6)) == {"number": 6, "unit": "one"}
    began = [line["job"] for line in worker.events if line["event"] == "handler_started"]
    assert began == [id_of(6)], f"handlers began for {began}"


def _hides(outcome: pb.Outcome) -> None:
    failure = outcome.failure
    for words in (failure.error, failure.stack):
        assert _SECRET not in words, f"the value of a payload is in the words of its error: {words!r}"


@case(
    "alias-subscribed",
    "Hello subscribes to the older names of a kind too, and their jobs run by the same handler.",
    "docs/kinds.md",
    short=True,
)
async def alias_subscribed(stage: Stage) -> None:
    await stage.start(typed=True)
    stream = await stage.server.stream()
    hello = await stream.welcome()
    taken = {each.queue: sorted(each.kinds) for each in hello.subscriptions}
    assert taken == {"default": ["typed", "typed-old", "work"]}, f"it subscribes to {taken}"
    stream.deliver(
        _typed(1, {"number": 7, "unit": "m"}, "2", kind="typed-old"),
        _typed(2, {"count": 8}, kind="typed-old"),
    )
    found = await stream.outcomes(1, 2)
    outputs = [_output(found[number]) for number in (1, 2)]
    assert outputs == [{"number": 14, "unit": "m"}, {"number": 16, "unit": "one"}], f"outputs are {outputs}"
