"""Sizes and tokens of pages."""

from __future__ import annotations

import base64

import pytest

from jobqueue_server.core.pages import page_position, page_size, page_token
from jobqueue_server.errors import FieldInvalid, PageTokenInvalid

pytestmark = pytest.mark.unit


def test_page_sizes_have_a_default_a_cap_and_no_negative():
    assert [page_size(asked) for asked in (0, 1, 1000, 1001, 1 << 31)] == [50, 1, 1000, 1000, 1000]
    with pytest.raises(FieldInvalid, match="page_size"):
        page_size(-1)


def test_a_page_token_is_good_for_its_own_list_alone():
    token = page_token("jobs of a", b"position")
    assert page_position("jobs of a", token) == b"position"
    assert page_position("jobs of a", "") is None
    with pytest.raises(PageTokenInvalid, match="another list or filter"):
        page_position("jobs of b", token)


def test_a_page_token_carries_ten_bits_of_the_cell_and_is_refused_with_those_of_another():
    raw = base64.urlsafe_b64decode(page_token("jobs", b"position" * 3) + "==")
    assert raw[:3] == b"\x02\x00\x00", "version 2, cell 0, six bits that are zero"
    for octet, bit in [(1, 0x80), (2, 0x40), (2, 0x20), (2, 0x01)]:
        other = bytearray(raw)
        other[octet] |= bit
        with pytest.raises(PageTokenInvalid, match="not a token that this server gave"):
            page_position("jobs", base64.urlsafe_b64encode(other).decode())


@pytest.mark.parametrize("token", ["x", "!!!!", "ä", "A" * 11, "A" * 40, "=", "\x00", " "])
def test_a_token_that_we_did_not_give_is_refused(token):
    with pytest.raises(PageTokenInvalid):
        page_position("jobs", token)
