from datetime import UTC, datetime, timedelta

import pytest

from jobqueue_worker.handlers.retry_after import retry_after

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("86401", 86400),
        ("9" * 5000, 86400),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("Friday, 02-Jan-26 03:05:05 GMT", 60),
        ("Fri, 02 Jan 2026 03:05:05 +0100", 0),
        ("Thu, 01 Jan 2026 03:05:05 GMT", 0),
        ("Fri, 02 Jan 2099 03:05:05 GMT", 86400),
    ],
)
def test_seconds_and_dates_are_honoured_up_to_a_day(value, seconds):
    assert retry_after(value, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "٣", "Fri, 99 Jan 2026 03:05:05 GMT"])
def test_what_cannot_be_read_leaves_it_to_the_backoff(value):
    assert retry_after(value, NOW) is None
