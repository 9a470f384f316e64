"""An exception that can't say what it is ends its attempt like any other."""

from __future__ import annotations

from jobqueue.worker.ending import _failure


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_without_words_is_still_a_failure_with_its_type():
    try:
        raise Wordless
    except Wordless as error:
        failure = _failure(error)
    assert failure.error_type == "Wordless"
    assert "RuntimeError" in failure.error
    assert "Wordless" in failure.stack
