"""The pool of threads for plain handlers."""

from __future__ import annotations

import threading

from jobqueue.worker.thread_runner import Threads


def test_what_comes_of_an_end_needs_no_further_thread():
    threads = Threads("handler")
    used: set[str] = set()
    runs = 0
    over = threading.Event()

    def work():
        nonlocal runs
        runs += 1
        used.add(threading.current_thread().name)
        # As the end of a job, which brings the next one.
        return over.set if runs == 100 else lambda: threads.submit(work)

    threads.submit(work)
    assert over.wait(30)
    threads.close()
    assert used == {"handler-1"}
