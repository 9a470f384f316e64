"""What others do to encodings: envelopes that were tampered with, the same call in two processes, keys that change."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
from typing import Any

import pytest

from jobqueue import Client, Encoded, EncodingUnknown, JobContext, KeyUnknown, NewJob, Status, Undecodable
from jobqueue.encodings import Place
from tests.client.conftest import RunningServer

from .made import KEY, NEXT, WITHIN, both, envelope, serving
from .producer import JOBS

MAIL = Place("payload", "mail")


def tampered(good: dict[str, Any], drawn: random.Random) -> dict[str, Any]:
    """An envelope that is not what it was."""
    bad = dict(good)
    name = drawn.choice(list(good))
    data = good["data"]
    at = drawn.randrange(len(data) - 1)
    other = drawn.choice([each for each in "ABCDab0189-_+/= é" if each != data[at]])
    wrong: list[Any] = [
        None,
        0,
        2,
        True,
        "",
        "zstd",
        [],
        {},
        [7],
        ["zstd"],
        ["zstd", "zstd"],
        ["aes256gcm"],
        "a" * 300,
    ]
    bad["data"] = drawn.choice([data[:at], data[:at] + other + data[at + 1 :], data + data, data[at:]])
    if drawn.random() < 0.6:
        bad = {**good, name: drawn.choice([each for each in wrong if each != good[name]])}
    elif drawn.random() < 0.3:
        bad = {other: each for other, each in good.items() if other != name or name == "$jobqueue.encoded"}
    return bad


@pytest.mark.unit
async def test_an_envelope_that_was_tampered_with_is_refused_and_nothing_else_is_raised():
    encodings = both({"a": KEY, "b": NEXT})
    text = b'{"text": "' + b"to be or not to be " * 30 + b'"}'
    good = json.loads((await encodings.sealer()).sealed(text, MAIL))
    drawn = random.Random(7)
    for _ in range(2000):
        bad = tampered(good, drawn)
        if bad == good:
            continue
        with pytest.raises((Undecodable, KeyUnknown, EncodingUnknown)):
            await encodings.opened(json.dumps(bad).encode(), MAIL)


@pytest.mark.slow
@pytest.mark.any_engine
async def test_the_same_keyed_calls_of_two_processes_are_one_job_each(server: RunningServer, client: Client):
    command = (sys.executable, "-m", "tests.encodings.producer", server.address)
    pipe = asyncio.subprocess.PIPE
    running = [await asyncio.create_subprocess_exec(*command, stdout=pipe) for _ in range(2)]
    first, second = [json.loads((await each.communicate())[0]) for each in running]
    assert first == second
    texts = [envelope((await client.get(id)).payload_json)["data"] for id in first]
    nonces = {base64.urlsafe_b64decode(text + "==")[:12] for text in texts}
    assert len(set(first)) == len(nonces) == JOBS


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_key_that_changes_under_load_fails_no_job(server: RunningServer):
    async def echo(ctx: JobContext) -> Any:
        return ctx.job.payload

    old, new = both(), both({"a": KEY, "b": NEXT}, "b")
    ids: list[str] = []
    async with (
        Client(server.address, encodings=old) as before,
        Client(server.address, encodings=new) as after,
        serving(server.address, both({"a": KEY, "b": NEXT}), load=echo),
        serving(server.address, new, load=echo),
    ):
        for batch in range(10):
            client = before if batch % 3 == 0 else after
            ids += [
                each.id for each in await client.enqueue_many([NewJob("load", [batch, n]) for n in range(60)])
            ]
        for number, id in enumerate(ids):
            done = await after.wait(id, timeout=WITHIN)
            assert (done.status, done.failures, done.attempts) == (Status.SUCCEEDED, 0, 1)
            assert done.output == done.payload == [number // 60, number % 60]
        stranger = await before.get(ids[60])
        assert isinstance(stranger.payload, Encoded)
