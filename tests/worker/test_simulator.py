import subprocess
import sys
from datetime import timedelta

import pytest

from jobqueue import Cancelled
from jobqueue_worker.simulator import PLAN, SimulatedFailure, Step, draw, simulated

INSTANT = timedelta(0)


def test_the_draw_is_the_same_in_every_process():
    here = [draw("018f-a", 1, step) for step in range(3)]
    code = "from jobqueue_worker.simulator import draw; print([draw('018f-a', 1, s) for s in range(3)])"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there.strip() == repr(here)


def test_the_draw_is_at_least_0_and_below_1():
    assert all(0 <= draw(str(job), 1, 1) < 1 for job in range(10_000))


def test_the_draw_varies_with_job_attempt_and_step():
    assert len({draw(job, attempt, step) for job in "ab" for attempt in (1, 2) for step in (1, 2)}) == 8


def test_the_draw_is_even():
    assert 0.42 < sum(draw(str(job), 1, 2) < 0.45 for job in range(10_000)) / 10_000 < 0.48


def test_the_plan_has_the_four_kinds_with_their_times_and_rates():
    said = {
        kind: [(step.duration / timedelta(milliseconds=1), step.failure_rate) for step in steps]
        for kind, steps in PLAN.items()
    }
    assert said == {
        "send_email": [(50, 0), (50, 0.45), (50, 0)],
        "resize_image": [(100, 0.25), (200, 0)],
        "summarize_text": [(150, 0.15)],
        "webhook_delivery": [(80, 0.35), (80, 0.15)],
    }


async def test_only_first_attempts_fail(attempt):
    handler = simulated({"doomed": [Step(INSTANT, 1.0)]})["doomed"]
    with pytest.raises(SimulatedFailure, match="step 1 of 1"):
        await handler(attempt("doomed"))
    assert await handler(attempt("doomed", number=2)) == {"simulated": True, "steps": 1}


async def test_cancellation_is_looked_at_before_each_step(attempt):
    context = attempt("slow", number=2)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise Cancelled()

    context.raise_if_cancelled = look
    with pytest.raises(Cancelled):
        await simulated({"slow": [Step(INSTANT, 0.0)] * 3})["slow"](context)
