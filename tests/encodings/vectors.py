"""Makes tests/clients/encodings.json: `python -m tests.encodings.vectors`. It uses cryptography alone, not the client.

A row says where an envelope belongs, what it holds and what it is written as. `write`: a client makes this very
envelope of the content. `required`: the kind takes encrypted payloads alone. `error`: what reading it comes to. Bytes
are base64url without "=".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FILE = Path(__file__).parents[1] / "clients" / "encodings.json"
KEYS = {"2026-10": bytes(range(32)), "2026-11": bytes(range(100, 132))}
# Of the same name as the first, elsewhere.
OTHER = bytes(range(1, 33))
MARK = "$jobqueue.encoded"
JSON, BYTES = "application/json", "application/octet-stream"
JOB = "01999999-0000-7000-8000-000000000001"
NONCE = bytes(range(200, 212))
# A frame of zstd that says how long its content is (4 bytes, little-endian), and a block of 128 KiB, not the last one.
FRAME, BLOCK = bytes.fromhex("28b52ffd8038"), bytes.fromhex("02001041")
LONG = json.dumps({"text": "to be or not to be, " * 110}, separators=(",", ":")).encode()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def framed(*parts: bytes) -> bytes:
    return b"".join(len(each).to_bytes(4, "big") + each for each in parts)


def bound_to(row: dict[str, Any]) -> bytes:
    texts = (
        row["purpose"],
        row["kind"],
        row["job_id"],
        row["content_type"],
        row["key_id"],
        *row["encodings"],
    )
    return framed(b"jobqueue.encoded/1", *(each.encode() for each in texts))


def nonce(key: bytes, row: dict[str, Any], data: bytes) -> bytes:
    if row["idempotency_key"] is None:
        return NONCE
    derived = HKDF(SHA256(), 32, salt=None, info=b"jobqueue.encoded/1 nonce").derive(key)
    what = framed(bound_to(row), row["idempotency_key"].encode(), data)
    return hmac.digest(derived, what, hashlib.sha256)[:12]


def sealed(row: dict[str, Any], content: bytes, key: bytes | None = None) -> dict[str, Any]:
    """The envelope."""
    data = content
    if "zstd" in row["encodings"]:
        data = zstandard.ZstdCompressor(level=3).compress(data)
    if "aes256gcm" in row["encodings"]:
        key = key or KEYS[row["key_id"]]
        drawn = nonce(key, row, data)
        data = drawn + AESGCM(key).encrypt(drawn, data, bound_to(row))
    told = {"$jobqueue.encoded": 1, "content_type": row["content_type"], "encodings": row["encodings"]}
    if row["key_id"]:
        told["key_id"] = row["key_id"]
    return {**told, "data": b64(data)}


def place(purpose: str = "payload", **other: Any) -> dict[str, Any]:
    found = {
        "purpose": purpose,
        "kind": "send_email",
        "job_id": "" if purpose == "payload" else JOB,
        "content_type": BYTES if purpose == "checkpoint" else JSON,
        "encodings": ["aes256gcm"],
        "key_id": "2026-10",
        "idempotency_key": None,
    }
    return {**found, **other}


def text(envelope: dict[str, Any]) -> str:
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False)


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def add(
        name: str,
        row: dict[str, Any],
        content: bytes,
        envelope: dict[str, Any] | str | None = None,
        *,
        write: bool = False,
        required: bool = False,
        error: str | None = None,
    ) -> None:
        made = sealed(row, content) if envelope is None else envelope
        found.append(
            {
                "name": name,
                **row,
                "content": b64(content),
                "envelope": made if isinstance(made, str) else text(made),
                "write": write,
                "required": required,
                "error": error,
            }
        )

    mail = b'{"to":"ada@example.org"}'
    # What each reads.
    add("a payload, encrypted", place(), mail)
    add("an output, encrypted", place("output"), b'{"message_id":"m1"}')
    add("a checkpoint, encrypted", place("checkpoint"), b"\x00\xff line 7")
    add("an empty object", place(), b"{}")
    add("null", place(), b"null")
    add("a number with all its digits", place(), b"12345678901234567890.0")
    add("text beyond ASCII", place(), '{"to":"Ada Lovelace, Zürich \U0001f600"}'.encode())
    add("another key", place(key_id="2026-11"), mail)
    add("another kind", place(kind="receipts.print"), mail)
    compressed = place(encodings=["zstd"], key_id="")
    add("compressed alone", compressed, LONG)
    add("compressed, then encrypted", place(encodings=["zstd", "aes256gcm"]), LONG)
    add("an output, compressed, then encrypted", place("output", encodings=["zstd", "aes256gcm"]), LONG)
    add(
        "a checkpoint, compressed, then encrypted", place("checkpoint", encodings=["zstd", "aes256gcm"]), LONG
    )
    # What each writes, byte for byte.
    for name, given, content in (
        ("a keyed payload", place(idempotency_key="order-7"), mail),
        ("the same of another idempotency key", place(idempotency_key="order-8"), mail),
        ("the same of another kind", place(idempotency_key="order-7", kind="receipts.print"), mail),
        ("the same with another key", place(idempotency_key="order-7", key_id="2026-11"), mail),
        (
            "another payload of that idempotency key",
            place(idempotency_key="order-7"),
            b'{"to":"bob@example.org"}',
        ),
        ("a keyed payload that is long, not compressed", place(idempotency_key="order-7"), LONG),
        ("an idempotency key beyond ASCII", place(idempotency_key="bestellung-ä-7"), mail),
        ("a keyed payload of one byte", place(idempotency_key="order-7"), b"7"),
    ):
        add(name, given, content, write=True)
    # What none reads.
    good = sealed(place(), mail)
    raw = base64.urlsafe_b64decode(good["data"] + "==")
    moved = "Undecodable"
    add("of another kind", place(kind="receipts.print"), mail, good, error=moved)
    add("a payload as an output", place("output"), mail, good, error=moved)
    add(
        "an output of another job",
        place("output", job_id=JOB[:-1] + "2"),
        mail,
        sealed(place("output"), mail),
        error=moved,
    )
    add("an output as a payload", place(), mail, sealed(place("output"), mail), error=moved)
    add("another key of the same name", place(), mail, sealed(place(), mail, OTHER), error=moved)
    add("another key_id", place(key_id="2026-11"), mail, {**good, "key_id": "2026-11"}, error=moved)
    add("cut by a byte", place(), mail, {**good, "data": b64(raw[:-1])}, error=moved)
    add("cut to its nonce", place(), mail, {**good, "data": b64(raw[:12])}, error=moved)
    add("without data", place(), mail, {**good, "data": ""}, error=moved)
    add(
        "one bit of the nonce",
        place(),
        mail,
        {**good, "data": b64(bytes([raw[0] ^ 1]) + raw[1:])},
        error=moved,
    )
    add(
        "one bit of the ciphertext",
        place(),
        mail,
        {**good, "data": b64(raw[:14] + bytes([raw[14] ^ 1]) + raw[15:])},
        error=moved,
    )
    add(
        "one bit of the tag",
        place(),
        mail,
        {**good, "data": b64(raw[:-1] + bytes([raw[-1] ^ 1]))},
        error=moved,
    )
    add(
        "said to be compressed as well",
        place(),
        mail,
        {**good, "encodings": ["zstd", "aes256gcm"]},
        error=moved,
    )
    add("encrypted and not said so", place(), mail, {**good, "encodings": ["zstd"]}, error=moved)
    add("without its key_id", place(), mail, {k: v for k, v in good.items() if k != "key_id"}, error=moved)
    add(
        "a key_id without encryption",
        compressed,
        LONG,
        {**sealed(compressed, LONG), "key_id": "2026-10"},
        error=moved,
    )
    add("by nothing", place(), mail, {**good, "encodings": []}, error=moved)
    add("twice the same", place(), mail, {**good, "encodings": ["aes256gcm", "aes256gcm"]}, error=moved)
    add("another content_type", place(), mail, {**good, "content_type": BYTES}, error=moved)
    add("a later form", place(), mail, {**good, "$jobqueue.encoded": 2}, error=moved)
    add(
        "base64, not base64url",
        place(),
        mail,
        {**good, "data": b64(raw).replace("-", "+").replace("_", "/") + "+/=="},
        error=moved,
    )
    packed = zstandard.ZstdCompressor().compress(LONG)
    add(
        "twice the same, as it is",
        compressed,
        LONG,
        {
            **sealed(compressed, LONG),
            "encodings": ["zstd", "zstd"],
            "data": b64(zstandard.ZstdCompressor().compress(packed)),
        },
        error=moved,
    )
    add(
        "compressed, and cut",
        compressed,
        LONG,
        {**sealed(compressed, LONG), "data": b64(packed[:-3])},
        error=moved,
    )
    add(
        "compressed, and more behind",
        compressed,
        LONG,
        {**sealed(compressed, LONG), "data": b64(packed + b"x")},
        error=moved,
    )
    bomb = zstandard.ZstdCompressor().compress(b"0" * (5 * 1024 * 1024))
    add("5 MiB of zeros", compressed, b"", {**sealed(compressed, LONG), "data": b64(bomb)}, error=moved)
    beyond = FRAME + (1024 * 1024).to_bytes(4, "little") + BLOCK * 1000
    add(
        "a frame that says 1 MiB and goes on to 125",
        compressed,
        b"",
        {**sealed(compressed, LONG), "data": b64(beyond)},
        error=moved,
    )
    for name, frame in (
        ("a frame that says it is empty", zstandard.ZstdCompressor().compress(b"")),
        ("a frame that says it is empty, and is not", FRAME + bytes(4) + BLOCK * 1000),
    ):
        add(name, compressed, b"", {**sealed(compressed, LONG), "data": b64(frame)}, error=moved)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(LONG)
    add(
        "a frame without its length",
        compressed,
        LONG,
        {**sealed(compressed, LONG), "data": b64(unsized)},
        error=moved,
    )
    add("an unknown key", place(key_id="2027-01"), mail, {**good, "key_id": "2027-01"}, error="KeyUnknown")
    add(
        "an unknown encoding",
        place(encodings=["brotli"], key_id=""),
        mail,
        {**good, "encodings": ["brotli"]},
        error="EncodingUnknown",
    )
    add("no envelope", place(), mail, mail.decode())
    # What a parser takes for the mark is one, however it is written.
    escaped = text(good).replace("$", r"\u0024")
    add("the mark, with an escape", place(), mail, escaped)
    add(
        "the mark, all escapes",
        place(),
        mail,
        text(good).replace(MARK, "".join(rf"\u{ord(c):04X}" for c in MARK)),
    )
    add(
        "the mark in plain text, with an escape",
        place(),
        mail,
        r'{"\u0024jobqueue.encoded":1,"to":"evil"}',
        error=moved,
    )
    add("an escape within", place(), rb'{"a":"\u0024jobqueue.encoded"}', r'{"a":"\u0024jobqueue.encoded"}')
    # Of kinds that take encrypted payloads alone.
    add("encrypted, as it must be", place(), mail, good, required=True)
    add("encrypted, as it must be, with an escape", place(), mail, escaped, required=True)
    for name, written in (
        ("plain text", mail.decode()),
        ("null", "null"),
        ("nothing", ""),
        ("the mark alone", '{"$jobqueue.encoded":1}'),
        ("the mark within", '{"a":{"$jobqueue.encoded":1,"key_id":"2026-10"}}'),
        ("an empty key_id", text({**good, "key_id": ""})),
        ("compressed, with a key_id", text({**sealed(compressed, LONG), "key_id": "2026-10"})),
        ("an envelope in a list", f"[{text(good)}]"),
    ):
        add(f"{name}, which must be encrypted", place(), mail, written, required=True, error=moved)
    add("compressed alone, which must be encrypted", compressed, LONG, required=True, error=moved)
    add("the mark within", place(), b'{"a":{"$jobqueue.encoded":1}}', '{"a":{"$jobqueue.encoded":1}}')
    return found


def main() -> None:
    lines = ",\n".join("  " + json.dumps(each, ensure_ascii=False) for each in rows())
    keys = json.dumps({name: key.hex() for name, key in KEYS.items()})
    FILE.write_text(f'{{"keys": {keys},\n "rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
