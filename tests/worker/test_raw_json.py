import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_worker.handlers.raw_json import member_text

pytestmark = pytest.mark.unit

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (b'{"body":12345678901234567890}', b"12345678901234567890"),
        (b'{"body": 1.10 , "url": "x"}', b"1.10"),
        (b' {"a" : {"body": 1}, "body" :\n[ 1,2 ] }', b"[ 1,2 ]"),
        (b'{"body": {"b": "}\\"", "a": 1e2}}', b'{"b": "}\\"", "a": 1e2}'),
        (b'{"bod\\u0079": null}', b"null"),
        (b'{"body": 1, "body": 2}', b"2"),
        ('{"body": "grüß \U0001f600"}'.encode(), '"grüß \U0001f600"'.encode()),
        (b'{"body": ' + b"9" * 6000 + b"}", b"9" * 6000),
        (b"{}", None),
        (b'{"url": "x"}', None),
    ],
)
def test_a_member_is_cut_out_as_it_is_written(document, text):
    assert member_text(document, "body") == text


@pytest.mark.slow
@given(st.dictionaries(st.text() | st.just("body"), VALUES), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_is_cut_out_is_what_decoding_finds(document, indent, ascii_only):
    text = member_text(json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode(), "body")
    assert text is None if "body" not in document else json.loads(text or b"") == document["body"]


@pytest.mark.parametrize("document", [b"", b"[]", b'"body"', b"{", b'{"body"', b'{"body":', b'{"body":1'])
def test_what_is_not_an_object_is_refused(document):
    with pytest.raises(ValueError, match=r".+"):
        member_text(document, "body")
