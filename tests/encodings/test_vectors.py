"""The envelopes that clients of all languages read and write, as tests/clients/encodings.json has them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from jobqueue import AesGcm, Encodings, EncodingUnknown, KeyUnknown, Undecodable, Zstd
from jobqueue.encodings import Place

from . import vectors

pytestmark = pytest.mark.unit

FILE = json.loads(vectors.FILE.read_text())
KEYS = {name: bytes.fromhex(key) for name, key in FILE["keys"].items()}
ROWS = FILE["rows"]
ERRORS = {each.__name__: each for each in (Undecodable, KeyUnknown, EncodingUnknown)}


def bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def place_of(row: dict[str, Any]) -> Place:
    return Place(row["purpose"], row["kind"], row["job_id"], row["content_type"])


def encodings(primary: str = "2026-10") -> Encodings:
    return Encodings([Zstd(), AesGcm(KEYS, primary=primary)])


def test_there_are_at_least_forty_rows_with_names_of_their_own():
    assert len({row["name"] for row in ROWS}) == len(ROWS) >= 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
async def test_an_envelope_is_read_as_its_row_says(row: dict[str, Any]):
    text, place, required = row["envelope"].encode(), place_of(row), row["required"]
    reading = encodings().opened(text, place, encrypted=required)
    if row["error"] is None:
        assert await reading == bytes_of(row["content"])
    else:
        with pytest.raises(ERRORS[row["error"]]):
            await reading


@pytest.mark.parametrize("row", [row for row in ROWS if row["write"]], ids=lambda row: row["name"])
async def test_an_envelope_is_written_byte_for_byte(row: dict[str, Any]):
    sealer = await encodings(row["key_id"]).sealer()
    made = sealer.sealed(bytes_of(row["content"]), place_of(row), row["idempotency_key"])
    assert made.decode() == row["envelope"]


@pytest.mark.parametrize("row", [row for row in ROWS if row["error"] is None], ids=lambda row: row["name"])
async def test_what_a_row_holds_is_written_and_read_again(row: dict[str, Any]):
    sealer = await encodings().sealer()
    content = bytes_of(row["content"])
    made = sealer.sealed(content, place_of(row))
    assert json.loads(made)["encodings"] == (["zstd"] if len(content) > 2048 else []) + ["aes256gcm"]
    assert await encodings().opened(made, place_of(row)) == content


def test_the_file_is_what_its_maker_makes():
    made = [{key: value for key, value in row.items() if key != "envelope"} for row in vectors.rows()]
    stored = [{key: value for key, value in row.items() if key != "envelope"} for row in ROWS]
    assert made == stored
    # Another version of Zstandard may make other bytes.
    for ours, theirs in zip(vectors.rows(), ROWS, strict=True):
        if "zstd" not in ours["envelope"]:
            assert ours["envelope"] == theirs["envelope"]
