"""The list of encodings: what it refuses, what it compresses, and whom it asks for keys."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from jobqueue import (
    AesGcm,
    Encoded,
    Encoding,
    EncodingRequired,
    Encodings,
    KeyUnknown,
    NewJob,
    Undecodable,
    Unique,
    Zstd,
)
from jobqueue.encoded import is_envelope
from jobqueue.encodings import Place, aesgcm, zstd
from jobqueue.encodings.envelope import Envelope
from jobqueue.encodings.keys import Keys
from jobqueue.encodings.whole import Sealer

from . import vectors

pytestmark = pytest.mark.unit

KEY, NEXT = bytes(range(32)), bytes(range(1, 33))
PAYLOAD = Place("payload", "mail")
LONG = b'"' + b"to be or not to be " * 200 + b'"'


def of(*given: Encoding, **options: bool) -> Encodings:
    return Encodings(given or [Zstd(), AesGcm({"a": KEY}, primary="a")], **options)


async def sealed(encodings: Encodings, data: bytes, key: str | None = None, place: Place = PAYLOAD) -> bytes:
    return (await encodings.sealer()).sealed(data, place, key)


async def test_two_calls_without_an_idempotency_key_have_other_bytes_and_with_one_the_same():
    encodings = of()
    assert await sealed(encodings, b"{}") != await sealed(encodings, b"{}")
    assert await sealed(encodings, b"{}", "k") == await sealed(encodings, b"{}", "k")


async def test_a_keyed_job_is_compressed_where_that_is_asked_for_and_its_nonce_is_of_the_compressed_bytes():
    plain, packed = of(), of(keyed_compression=True)
    other = of(Zstd(level=19), AesGcm({"a": KEY}, primary="a"), keyed_compression=True)
    first, second = await sealed(packed, LONG, "k"), await sealed(other, LONG, "k")
    assert len(first) < len(LONG) / 10 < len(await sealed(plain, LONG, "k"))
    assert first != second

    def nonce(text: bytes) -> str:
        return str(json.loads(text)["data"])[:16]

    # The same text, compressed in another way: with one nonce for both, their difference would be readable.
    assert nonce(first) != nonce(second)
    for each in (first, second):
        assert await plain.opened(each, PAYLOAD) == LONG


async def test_what_is_short_or_does_not_shrink_is_not_compressed():
    encodings = of(Zstd(over=10))
    assert await sealed(encodings, b'"short"') == b'"short"'
    noise = bytes(range(32, 127))
    assert await sealed(encodings, noise) == noise
    assert is_envelope(await sealed(encodings, LONG))


async def test_more_than_zstd_takes_is_refused_on_both_sides():
    small = of(Zstd(over=10, most=1000))
    with pytest.raises(ValueError, match="more than Zstd"):
        await sealed(small, LONG)
    with pytest.raises(Undecodable, match="at most 1000"):
        await small.opened(await sealed(of(Zstd()), LONG), PAYLOAD)


@pytest.mark.parametrize("said", [1024 * 1024, 16 * 1024 * 1024])
async def test_a_frame_that_goes_on_past_the_length_that_it_says_takes_no_more_memory_than_that(said: int):
    frame = vectors.FRAME + said.to_bytes(4, "little") + vectors.BLOCK * 1000
    assert len(frame) < 5000
    encodings = of(Zstd(most=16 * 1024 * 1024))
    text = Envelope(("zstd",), "", frame, "application/json").text()
    tracemalloc.start()
    try:
        with pytest.raises(Undecodable, match="zstd"):
            await encodings.opened(text, PAYLOAD)
        assert tracemalloc.get_traced_memory()[1] < said + 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_an_object_of_the_library_serves_one_thread_at_a_time_and_few_are_kept():
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    idle = zstd._Idle(make)
    taken = [idle.take() for _ in range(10)]
    assert len(set(taken)) == 10
    for each in taken:
        idle.give_back(each)
    assert [idle.take() for _ in range(5)][:4] == taken[:-5:-1]
    assert len(made) == 11


async def test_each_envelope_that_a_key_decrypts_is_read_also_where_another_one_is_the_primary():
    old, new = of(AesGcm({"a": KEY}, primary="a")), of(AesGcm({"a": KEY, "b": NEXT}, primary="b"))
    text = await sealed(old, b"1")
    assert await new.opened(text, PAYLOAD) == b"1"
    with pytest.raises(KeyUnknown, match="'b'") as raised:
        await old.opened(await sealed(new, b"1"), PAYLOAD)
    assert raised.value.key_id == "b"


async def test_a_function_is_asked_for_a_key_once_by_all_that_wait_for_it():
    asked = []

    async def ask(name: str) -> bytes:
        asked.append(name)
        await asyncio.sleep(0.01)
        return KEY

    encodings = of(AesGcm(ask, primary="a"))
    assert encodings.asks
    waiting = [asyncio.create_task(sealed(encodings, b"1")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert asked == ["a"]
    assert [isinstance(each, bytes) for each in done] == [False] + [True] * 49


async def test_a_key_of_a_function_is_asked_for_again_after_a_while(monkeypatch: pytest.MonkeyPatch):
    asked = []
    encodings = of(AesGcm(lambda name: asked.append(name) or KEY, primary="a"))  # type: ignore[func-returns-value]
    await sealed(encodings, b"1")
    await sealed(encodings, b"1")
    assert asked == ["a"]
    now = time.monotonic()
    monkeypatch.setattr("jobqueue.encodings.keys.time.monotonic", lambda: now + 301)
    await sealed(encodings, b"1")
    assert asked == ["a", "a"]


async def test_a_key_that_is_missing_is_asked_for_again_after_a_while_and_may_have_arrived(
    monkeypatch: pytest.MonkeyPatch,
):
    known: dict[str, bytes] = {}
    encodings = of(AesGcm(known.get, primary="a"))
    with pytest.raises(KeyUnknown):
        await sealed(encodings, b"1")
    known["a"] = KEY
    with pytest.raises(KeyUnknown):
        await sealed(encodings, b"1")
    now = time.monotonic()
    monkeypatch.setattr("jobqueue.encodings.keys.time.monotonic", lambda: now + 16)
    assert is_envelope(await sealed(encodings, b"1"))


async def test_a_plain_function_for_keys_may_block_and_the_loop_goes_on():
    going = threading.Event()
    where: list[threading.Thread] = []

    def ask(name: str) -> bytes:
        where.append(threading.current_thread())
        assert going.wait(30)
        return KEY

    work = asyncio.create_task(sealed(of(AesGcm(ask, primary="a")), b"1"))
    while not where:
        await asyncio.sleep(0.001)
    going.set()
    assert is_envelope(await work)
    assert where != [threading.current_thread()]


async def test_a_function_that_answers_an_awaitable_is_waited_for():
    async def later(name: str) -> bytes:
        return KEY

    class Service:
        async def __call__(self, name: str) -> bytes:
            return KEY

    asks: list[Any] = [later, lambda name: later(name), functools.partial(later), Service()]
    for ask in asks:
        assert is_envelope(await sealed(of(AesGcm(ask, primary="a")), b"1"))


async def test_a_function_is_not_asked_for_what_is_no_name_and_keeps_so_many_answers():
    asked: list[str] = []
    keys = Keys(lambda name: asked.append(name) or (KEY if name == "a" else None))  # type: ignore[func-returns-value]
    for name in ("", "a b", "a\n", "\0", "../\\", "a" * 256, "%2e", "a'"):
        with pytest.raises(KeyUnknown):
            await keys.get(name)
    assert asked == []
    await keys.get("a")
    for name in ("vault:mail/2026-10", "k" * 255, *(f"n{number}" for number in range(600))):
        with pytest.raises(KeyUnknown):
            await keys.get(name)
    assert len(asked) == 603
    assert len(keys._kept) == 256
    # What is there is kept, and what is not there goes.
    await keys.get("a")
    assert len(asked) == 603
    with pytest.raises(ValueError, match="letters, digits"):
        AesGcm(lambda name: KEY, primary="a b")


def test_a_key_is_in_no_error_and_in_no_words_about_what_holds_it():
    for keys, primary in (({KEY: "a"}, "a"), ({KEY: KEY}, KEY), ({"a": KEY}, KEY), (lambda name: KEY, KEY)):
        with pytest.raises(TypeError, match="of type bytes") as raised:
            AesGcm(keys, primary=primary)  # type: ignore[arg-type]
        assert repr(KEY) not in str(raised.value)
    assert repr(KEY) not in repr(Sealer((), KEY))


async def test_many_jobs_let_others_run_meanwhile():
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    assert len(await of().payloads([NewJob("mail", number) for number in range(1000)])) == 1000
    running.cancel()
    assert turns >= 9


async def test_what_a_function_for_keys_raises_is_raised_and_a_key_is_never_told():
    async def away(name: str) -> bytes:
        raise OSError("the key service is away")

    with pytest.raises(OSError, match="away"):
        await sealed(of(AesGcm(away, primary="a")), b"1")
    with pytest.raises(ValueError, match="5 bytes") as raised:
        AesGcm({"a": b"12345"}, primary="a")
    assert "12345" not in str(raised.value)


class Forgetful(Encoding):
    """Encrypts nothing."""

    name, key_id = "forgetful", "a"

    def encode(self, data: bytes, key: bytes, authenticated: bytes, idempotency_key: str | None) -> None:
        return None


async def test_an_encoding_that_should_encrypt_and_leaves_plain_text_is_an_error():
    with pytest.raises(ValueError, match="unencrypted"):
        await sealed(of(Forgetful()), b"1")


async def test_a_job_that_its_payload_makes_unique_is_refused():
    for unique in (Unique(), Unique(payload_fields=["/to"])):
        with pytest.raises(ValueError, match=r"unique\.key"):
            await of().payloads([NewJob("mail", {"to": "a"}, unique=unique)])
    (text,) = await of().payloads([NewJob("mail", {"to": "a"}, unique=Unique("a"))])
    assert text is not None
    assert is_envelope(text)


async def test_a_job_says_whether_it_is_encoded():
    never, required = NewJob("a", 1, encodings="never"), NewJob("a", 1, encodings="required")
    assert await of().payloads([never]) == [None]
    with pytest.raises(EncodingRequired):
        await of(Zstd()).payloads([required])
    (text,) = await of().payloads([required])
    assert await of().opened(text or b"", Place("payload", "a")) == b"1"


async def test_an_envelope_that_a_producer_gives_is_encoded_as_any_payload_is():
    inner = await sealed(of(Zstd()), LONG)
    (text,) = await of().payloads([NewJob("mail", payload_json=inner)])
    assert await of().opened(text or b"", PAYLOAD) == inner


async def test_what_looks_like_an_envelope_and_is_not_encoded_is_refused():
    encodings = of(Zstd())
    stranger = await sealed(of(Zstd(over=10)), LONG)
    assert len(stranger) < 2048
    sealer = await encodings.sealer()
    words = "looks like an envelope, and nothing here encodes it"
    for text in (stranger, stranger.replace(b"$", rb"\u0024"), b'{"$jobqueue.encoded":2}'):
        for job in (
            NewJob("mail", payload_json=text),
            NewJob("mail", payload_json=text, idempotency_key="k"),
            NewJob("mail", json.loads(text)),
        ):
            with pytest.raises(ValueError, match=f"the payload {words}"):
                await encodings.payloads([job])
        with pytest.raises(ValueError, match=f"the output {words}"):
            sealer.output(text, "mail", "1")
    with pytest.raises(ValueError, match=f"the checkpoint {words}"):
        sealer.checkpoint(b'{"$jobqueue.encoded":1,\xff', "mail", "1")
    assert sealer.checkpoint(b"\xff", "mail", "1") == b"\xff"
    # One that is encoded comes back as it was given.
    text = await sealed(of(Zstd(over=10)), stranger + b" " * 3000)
    assert await encodings.opened(text, PAYLOAD) == stranger + b" " * 3000


async def test_an_envelope_is_known_however_its_mark_is_written():
    text = (await sealed(of(), b"1")).decode()
    for written in (text, text.replace("$", r"\u0024"), text.replace("jobqueue", r"\u006Aob\u0071ueue")):
        assert is_envelope(written.encode())
        assert await of().opened(written.encode(), PAYLOAD) == b"1"
    for other in (
        r'{"a":"\u0024jobqueue.encoded"}',
        r'"\u0024jobqueue.encoded"',
        r'{"\u0024',
        r'{"a":"\u00e4"}',
    ):
        assert not is_envelope(other.encode())


@pytest.mark.parametrize("member", ["1" * 5000, "[" * 200_000 + "]" * 200_000], ids=["digits", "depth"])
async def test_what_has_the_mark_and_can_not_be_parsed_is_no_plain_text(member: str):
    packing = of(Zstd(over=10**6))
    for name in ("$jobqueue.encoded", r"\u0024jobqueue\u002Eencoded"):
        text = f'{{"{name}":1,"a":{member}}}'.encode()
        assert is_envelope(text)
        with pytest.raises(ValueError, match="looks like an envelope"):
            await sealed(packing, text)
        with pytest.raises(Undecodable):
            await packing.opened(text, PAYLOAD)
    for other in (f'{{"\\u00e4":{member}}}', f"[{member}"):
        assert not is_envelope(other.encode())
        assert await packing.opened(other.encode(), PAYLOAD) == other.encode()


def test_lists_that_make_no_sense_are_refused():
    cipher = AesGcm({"a": KEY}, primary="a")
    for given, words in (
        ([], "not empty"),
        ([Zstd(), Zstd()], "different"),
        ([cipher, Zstd()], "last"),
        ([Encoding()], "name"),
    ):
        with pytest.raises(ValueError, match=words):
            Encodings(given)
    with pytest.raises(TypeError, match="inherits"):
        Encodings(["zstd"])  # type: ignore[list-item]
    with pytest.raises(KeyUnknown):
        AesGcm({"a": KEY}, primary="b")
    with pytest.raises(ValueError, match="primary"):
        AesGcm({"a": KEY}, primary="")


def test_no_two_places_are_authenticated_as_the_same():
    found = {
        Place(purpose, kind, job_id).authenticated(names, key_id)
        for purpose in ("payload", "output")
        for kind in ("a", "ab", "abc")
        for job_id in ("", "b", "bc", "c")
        for key_id in ("", "b", "c")
        for names in (("a",), ("a", "b"), ("ab",))
    }
    assert len(found) == 2 * 3 * 4 * 3 * 3


def test_without_the_libraries_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    for module in ("zstandard", "compression", "cryptography.hazmat.primitives.ciphers.aead"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"jobqueue\[zstd\]"):
        zstd.Zstd()
    with pytest.raises(ImportError, match=r"jobqueue\[encryption\]"):
        aesgcm.AesGcm({"a": KEY}, primary="a")


def test_what_was_not_decoded_says_so_and_is_raised_where_it_is_used():
    value: Any = Encoded(("zstd", "aes256gcm"), "2026-10")
    assert str(value) == "encoded, zstd + aes256gcm, key 2026-10: this program has no encodings"
    assert value == Encoded(("zstd", "aes256gcm"), "2026-10") != Encoded(("zstd",))
    uses: list[Callable[[], object]] = [lambda: value["to"], lambda: list(value), lambda: "to" in value]
    for use in uses:
        with pytest.raises(Encoded):
            use()
