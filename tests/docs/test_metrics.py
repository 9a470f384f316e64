"""The list of metrics is that of the code, and each metric that a document or a rule names is on it."""

from __future__ import annotations

import re

import pytest

from tools import metrics

from .markdown import ROOT, documents

FAMILIES = {family.name: family for family in [*metrics.server(), *metrics.worker()]}
#: What Prometheus adds to a histogram.
_PARTS = re.compile(r"_(bucket|sum|count)$")
_NAME = re.compile(
    r"\b(?:jobqueue|worker|grpc_server)_[a-z_]+(?:_total|_seconds|_jobs|_rows|_bytes)(?:_bucket|_sum|_count)?\b"
)


def known(name: str) -> bool:
    """Whether it is a metric, or one of the three that a histogram makes."""
    whole = FAMILIES.get(_PARTS.sub("", name))
    return name in FAMILIES or (whole is not None and whole.type == "histogram")


def test_the_lock_is_that_of_the_code() -> None:
    assert metrics.LOCK.read_text() == metrics.lock(), "run `python -m tools.metrics --renew`"


def test_a_metric_that_is_gone_or_has_changed_must_be_in_the_changelog() -> None:
    old = "jobqueue_ready gauge\njobqueue_gone_total counter kind\njobqueue_more gauge\n"
    new = "jobqueue_ready gauge\njobqueue_more gauge queue\n"
    changelog = "# Changelog\n\n## Unreleased\n\n{}\n\n## 0.0.9\n\n`jobqueue_gone_total`, `jobqueue_more`\n"

    assert metrics.unannounced(old, new, changelog.format("Nothing.")) == [
        "jobqueue_gone_total counter kind",
        "jobqueue_more gauge",
    ]
    said = changelog.format("`jobqueue_gone_total` is gone, and `jobqueue_more` has the label `queue`.")
    assert metrics.unannounced(old, new, said) == []


def test_names_say_what_a_metric_is() -> None:
    for family in FAMILIES.values():
        assert (family.type == "counter") == family.name.endswith("_total"), family.name
        assert family.text.endswith("."), family.name
        assert not {"principal", "job", "worker", "session", "instance"} & set(family.labels), family.name


# A decision names what was thought of, a benchmark what was.
OF_NOW = [path for path in documents() if path.parent.name not in {"decisions", "benchmarks"}]


@pytest.mark.parametrize("path", OF_NOW, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_metric_that_a_document_names_is_there(path) -> None:
    named = set(re.findall(r"`([a-z_]+)(?:\{[^`]*)?`", path.read_text()))

    assert not {name for name in named if _NAME.fullmatch(name) and not known(name)}
