"""The text of a key, and how often bad ones are looked at."""

from __future__ import annotations

import re

import pytest

from jobqueue_server.core.access import keys
from jobqueue_server.core.access.failures import MOST_ADDRESSES, PER_SECOND, FailedAttempts

pytestmark = pytest.mark.unit


def test_a_key_is_known_by_its_form_and_its_checksum() -> None:
    minted = keys.mint()
    assert re.fullmatch(keys.PATTERN, minted.text)
    assert len(minted.text) == 63
    assert keys.id_of(minted.text) == minted.id
    assert keys.hash_of(minted.text) == minted.secret_hash
    assert len(minted.secret_hash) == 32


def test_no_two_keys_are_alike() -> None:
    minted = [keys.mint() for _ in range(100)]
    assert len({key.id for key in minted}) == len({key.text for key in minted}) == 100


@pytest.mark.parametrize("place", [5, 20, 45, 60])
def test_a_slip_of_one_character_is_no_key(place: int) -> None:
    text = keys.mint().text
    other = "b" if text[place] != "b" else "c"
    assert keys.id_of(text[:place] + other + text[place + 1 :]) is None


@pytest.mark.parametrize("text", ["", "jq_", "x" * 63, "jq_" + "0" * 60, "schl\u00fcssel"])
def test_other_text_is_no_key(text: str) -> None:
    assert keys.id_of(text) is None


def test_a_key_with_more_or_in_capitals_is_no_key() -> None:
    text = keys.mint().text
    assert keys.id_of(text + "a") is None
    assert keys.id_of(text.upper()) is None


def test_an_address_fails_ten_times_and_then_once_each_tenth_of_a_second() -> None:
    attempts = FailedAttempts()
    for _ in range(PER_SECOND):
        assert not attempts.refuses("10.0.0.1", 100.0)
        attempts.note("10.0.0.1", 100.0)
    assert attempts.refuses("10.0.0.1", 100.0)
    assert not attempts.refuses("10.0.0.2", 100.0), "each address for itself"
    assert attempts.refuses("10.0.0.1", 100.05)
    assert not attempts.refuses("10.0.0.1", 100.11)


def test_addresses_that_are_remembered_are_bounded() -> None:
    attempts = FailedAttempts()
    for number in range(MOST_ADDRESSES + 10):
        attempts.note(str(number), 0.0)
    assert len(attempts._left) == MOST_ADDRESSES
