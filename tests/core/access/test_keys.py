"""The text of a key, and how often bad ones are looked at."""

from __future__ import annotations

import re

import pytest

from jobqueue_server.core.access import keys
from jobqueue_server.core.access.failures import (
    MOST_REMEMBERED,
    OF_A_CREDENTIAL,
    OF_A_PREFIX,
    FailedAttempts,
    prefix_of,
)

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


def test_one_bad_credential_fails_ten_times_and_then_once_a_second() -> None:
    attempts = FailedAttempts()
    for _ in range(OF_A_CREDENTIAL):
        assert not attempts.refuses("10.0.0.1", "key", 100.0)
        attempts.note("10.0.0.1", "key", 100.0)
    assert attempts.refuses("10.0.0.1", "key", 100.0)
    assert not attempts.refuses("10.0.0.2", "key", 100.0), "each address for itself"
    assert not attempts.refuses("10.0.0.1", "another", 100.0), "each credential for itself"
    assert attempts.refuses("10.0.0.1", "key", 100.9)
    assert not attempts.refuses("10.0.0.1", "key", 101.1)


def test_who_repeats_a_bad_credential_leaves_the_others_at_its_address_enough() -> None:
    attempts = FailedAttempts()
    for moment in range(1000):
        if not attempts.refuses("10.0.0.1", "key", moment / 100):
            attempts.note("10.0.0.1", "key", moment / 100)
    for number in range(OF_A_PREFIX // 2):
        assert not attempts.refuses("10.0.0.1", str(number), 10.0)
        attempts.note("10.0.0.1", str(number), 10.0)


def test_a_scan_of_many_credentials_is_slowed_by_its_address() -> None:
    attempts = FailedAttempts()
    looks = 0
    for number in range(10_000):
        if not attempts.refuses("10.0.0.1", str(number), number / 1000):
            attempts.note("10.0.0.1", str(number), number / 1000)
            looks += 1
    assert looks <= OF_A_PREFIX * 11


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
    ],
)
def test_a_host_does_not_become_another_by_another_address_of_its_network(address: str, prefix: str) -> None:
    assert prefix_of(address) == prefix


def test_what_is_remembered_of_failures_is_bounded_and_who_fails_on_stays_in_it() -> None:
    attempts = FailedAttempts()
    for number in range(3 * MOST_REMEMBERED):
        if number % 100 == 0:
            attempts.note("10.0.0.1", "key", number / 100_000)
        attempts.note(str(number), "key", number / 100_000)
    assert attempts.refuses("10.0.0.1", "key", 0.3)
    for each in (attempts._prefixes, attempts._credentials):
        assert len(each._left) == MOST_REMEMBERED
