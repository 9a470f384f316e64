"""What a producer in one language gives, a worker in another is given and answers, byte for byte; typed jobs; TLS.

A language is a row of `tests/conformance/workers.toml`; `tests/conformance/languages.py` says what its program does.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from jobqueue import Client, NewJob
from tests.conformance.languages import languages
from tests.e2e.conftest import Bench
from tests.tls.conftest import Authority

from .conftest import Work, enqueue

# The first build of a language compiles its gRPC.
pytestmark = pytest.mark.timeout(600)

PAYLOADS = [
    text.encode()
    for text in (
        '{"n":12345678901234567890}',
        '{ "n" : -98765432109876543210, "again":1.0 , "e":1E+2, "zero":-0.0 }',
        '{"text":"é \\u00e9 <&> 😀 \\ud83d\\ude00 \\u2028 \u2028"}',
        '{"empty":[ ]}',
        " [null] ",
        '"text"',
        "null",
        f'{{"long":"{"ä" * 100_000}"}}',
    )
]

#: Payloads of the kind `order`, with the outputs of their jobs. The last one has a field that no type knows.
ORDERS = [
    (
        {"customer": "Ada", "paid": True, "lines": [{"sku": "a-1", "count": 3, "price": 2.5}]},
        {"customer": "Ada, paid", "count": 3, "dearest": 2.5},
    ),
    (
        {"customer": "é <&> \u2028 😀", "paid": False, "lines": [], "note": '"later"'},
        {"customer": 'é <&> \u2028 😀: "later"', "count": 0, "dearest": None},
    ),
    (
        {
            "customer": "",
            "paid": False,
            "lines": [
                {"sku": "", "count": 2**53 - 1, "price": -1e300},
                {"sku": "ü", "count": -(2**53) + 2, "price": 7},
            ],
            "channel": {"of": ["a", "later", "version"]},
        },
        {"customer": "", "count": 1, "dearest": 7},
    ),
]


def pairs() -> list[object]:
    """Each language with each, also with itself."""
    return [
        pytest.param(
            producer, worker, id=f"{producer}-{worker}", marks=pytest.mark.language(producer, worker)
        )
        for producer, worker in product(languages(), repeat=2)
    ]


@pytest.mark.parametrize(("producer", "worker"), pairs())
async def test_payloads_and_outputs_are_the_same_bytes_on_both_sides(
    work: Work, address: str, queue: str, producer: str, worker: str
) -> None:
    process = work(worker, address, queue)
    assert await enqueue(producer, address, queue, PAYLOADS) == PAYLOADS
    process.terminate()
    assert await process.ended() == 0


@pytest.mark.parametrize(("producer", "worker"), pairs())
async def test_a_typed_job_is_what_both_sides_declare(
    work: Work, client: Client, address: str, queue: str, producer: str, worker: str
) -> None:
    process = work(worker, address, queue)
    said = [json.dumps(payload).encode() for payload, _ in ORDERS]
    outputs = [output for _, output in ORDERS]
    found = await enqueue(producer, address, queue, said, kind="order")
    assert [json.loads(text) for text in found] == outputs
    # What a program without the types sends, with the field that is not known.
    by_hand = [NewJob("order", payload, queue=queue) for payload, _ in ORDERS]
    ids = [result.id for result in await client.enqueue_many(by_hand)]
    assert [(await client.wait(id)).output for id in ids if id is not None] == outputs
    process.terminate()
    assert await process.ended() == 0


@pytest.mark.parametrize(
    "language", [pytest.param(each, marks=pytest.mark.language(each)) for each in languages()]
)
async def test_producer_and_worker_speak_tls_and_show_who_they_are(
    work: Work, bench: Bench, tmp_path: Path, dsn: str, language: str
) -> None:
    authority = Authority(tmp_path, "authority")
    (cert, key), (own, secret) = authority.issue("server"), authority.issue("client")
    trust = str(authority.cert)
    server = await bench.server(dsn, tls_cert=cert, tls_key=key, tls_client_ca=trust)
    flags = ("--roots", trust, "--cert", own, "--key", secret)
    work(language, server.address, "default", *flags)
    assert await enqueue(language, server.address, "default", [b"[1]"], *flags) == [b"[1]"]
