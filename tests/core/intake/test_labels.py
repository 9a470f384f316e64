"""Labels and headers are stored as JSON, whatever characters they have."""

from __future__ import annotations

import json

import pytest

from jobqueue_server.core.intake.intake import encode_labels

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "labels",
    [{"a": "b"}, {"team/x": "1", "b": ""}, {'"': "\\", "\n": "\u0001"}, {"ä": "\U0001f600 ü", "\u2028": "}"}],
)
def test_labels_are_the_json_that_json_makes_of_them(labels: dict[str, str]) -> None:
    assert encode_labels(labels) == json.dumps(labels)
