"""How a worker says who it is."""

from __future__ import annotations

import grpc

from jobqueue.v1.job_pb2 import PAYLOAD_FORMAT_JSON, PAYLOAD_FORMAT_UNSPECIFIED

from ..case import case
from ..stage import Stage, job


@case(
    "hello-names",
    "Hello says the worker's name, labels, queues, kinds, slots, ttl and client, and asks for JSON text.",
    "Hello",
    short=True,
)
async def hello_names(stage: Stage) -> None:
    await stage.start(
        queues=["fast", "slow"],
        kinds=["work", "rare"],
        slots=3,
        slots_by_kind={"rare": 1},
        labels={"zone": "z1"},
        session_ttl_s=7,
    )
    stream = await stage.server.stream()
    hello = await stream.welcome()
    assert hello.worker == "worker-under-test", f"the name is {hello.worker!r}"
    taken = {each.queue: sorted(each.kinds) for each in hello.subscriptions}
    assert taken == {"fast": ["rare", "work"], "slow": ["rare", "work"]}, f"it subscribes to {taken}"
    assert dict(hello.labels) == {"zone": "z1"}, f"labels are {dict(hello.labels)}"
    assert hello.session_ttl.ToSeconds() == 7, f"the ttl is {hello.session_ttl.ToSeconds()} s"
    assert 1 <= len(hello.client) <= 128, f"the client is {hello.client!r}"
    assert hello.payload_format in (PAYLOAD_FORMAT_UNSPECIFIED, PAYLOAD_FORMAT_JSON), (
        "payloads are no JSON text"
    )
    assert not hello.HasField("resume"), "a first Hello resumes nothing"
    capacity = hello.capacity if hello.HasField("capacity") else await stream.expect("capacity")
    assert capacity.slots == 3, f"it says {capacity.slots} slots"
    assert dict(capacity.slots_by_kind) == {"rare": 1}, f"slots by kind are {dict(capacity.slots_by_kind)}"


@case(
    "hello-refused",
    "A first Hello that is refused as INVALID_ARGUMENT ends the worker, with the server's words; it is not said again.",
    "Hello",
)
async def hello_refused(stage: Stage) -> None:
    worker = await stage.start(queues=["No Such Name"])
    stream = await stage.server.stream()
    await stream.expect("hello")
    stream.end(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "hello.subscriptions[0].queue: not a name")
    ended = await worker.event("ended")
    assert "not a name" in (ended["error"] or ""), f"its error is {ended['error']!r}"
    assert await worker.exit() != 0, "its exit code is 0"
    assert len(stage.server.tries) == 1, f"it tried {len(stage.server.tries)} times"


@case("hello-waits", "A worker waits for a server that is not there yet.", "Hello")
async def hello_waits(stage: Stage) -> None:
    addresses = dict(enumerate(stage.server.addresses))
    await stage.server.stop()
    await stage.start()
    # Long enough for a first try of any language to have failed.
    await _no_end(stage, 1.5)
    await stage.server.start(addresses)
    stream = await stage.server.stream()
    await stream.welcome()


async def _no_end(stage: Stage, seconds: float) -> None:
    try:
        await stage.worker.event("ended", within=seconds)
    except AssertionError:
        return
    raise AssertionError("it gave up")


@case(
    "unknown-frames",
    "Frames, fields, actions and reasons that the worker does not know are ignored, and it works on.",
    "LeaseResponse, Control",
    short=True,
)
async def unknown_frames(stage: Stage) -> None:
    worker, stream = await stage.begin()
    stream.send(raw=b"\xfa\x01\x03abc")  # a frame of number 31
    stream.send(raw=b"\x2a\x05\xfa\x01\x02ab")  # a Control with an action of number 31
    stream.send(control={})
    stream.send(raw=b"\x22\x05\x08\x00\xf8\x01\x07")  # a Pong of 0 with a field of number 31
    stream.revoke(99, reason="A_REASON_OF_LATER")  # of no lease that it holds
    stream.deliver(job(1))
    assert (await stream.outcome(1)).WhichOneof("outcome") == "success"
    await stream.beats(2)
    assert not worker.said("ended"), "it ended"
    assert len(stage.server.tries) == 1, "it connected anew"
