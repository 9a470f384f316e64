"""How busy the event loop is, from what its thread ran and waited for a core."""

from __future__ import annotations

import pytest

from jobqueue_server.core.claim.load import Load

pytestmark = pytest.mark.unit


class Thread:
    """A thread that ran and waited for as long as a test says."""

    def __init__(self) -> None:
        self.now = self.ran = self.waited = 0.0
        self.load = Load(lambda: self.now, lambda: (self.ran, self.waited))

    def passes(self, seconds: float, ran: float, waited: float = 0.0) -> Load:
        """Of some seconds it runs and waits for a share each."""
        self.now += seconds
        self.ran += ran * seconds
        self.waited += waited * seconds
        return self.load


def test_before_a_window_has_passed_the_loop_is_idle():
    load = Thread().passes(0.049, ran=1.0)
    assert (load.busy, load.cpu_overcommitted, load.cpu_underused, load.calls) == (False, False, True, 0.0)


@pytest.mark.parametrize(
    ("ran", "waited", "busy", "overcommitted", "underused"),
    [
        (0.8, 0.0, True, True, False),
        (0.7, 0.0, False, False, False),
        (0.4, 0.0, False, False, True),
        (0.4, 0.4, False, True, False),
        (0.1, 0.3, False, False, True),
    ],
)
def test_waiting_for_a_core_counts_as_work_that_is_to_be_done(
    ran: float, waited: float, busy: bool, overcommitted: bool, underused: bool
):
    load = Thread().passes(0.1, ran, waited)
    assert (load.busy, load.cpu_overcommitted, load.cpu_underused) == (busy, overcommitted, underused)


def test_what_it_tells_is_of_the_last_window_and_not_of_all_time():
    thread = Thread()
    assert thread.passes(10, ran=1.0).busy
    load = thread.passes(0.05, ran=0.0)
    assert not load.busy
    assert load.cpu_underused


def test_calls_are_told_a_second_and_counted_anew():
    thread = Thread()
    for _ in range(50):
        thread.load.call_arrived()
    assert thread.passes(0.1, ran=0.5).calls == pytest.approx(500)
    assert thread.passes(0.1, ran=0.5).calls == 0


@pytest.mark.parametrize(("ended", "keeps_up"), [(24, False), (25, True), (100, True)])
def test_workers_keep_up_that_end_a_quarter_of_what_is_stored(ended: int, keeps_up: bool):
    thread = Thread()
    thread.load.stored, thread.load.ended = 100, ended
    assert thread.passes(0.1, ran=0.5).workers_keep_up is keeps_up


def test_this_thread_tells_how_long_it_ran():
    load = Load()
    began = load._times()[0]
    assert sum(range(1_000_000))
    assert load._times()[0] > began
