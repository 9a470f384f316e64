"""Statistics as callers ask for them: in steps, split into series, out of slices of three widths."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import stats_pb2
from jobqueue_server.core.events.tallies import COUNTS

from .hand_worker import reason_of, violations_of
from .place import Place
from .statistics import stats, sums_of

pytestmark = pytest.mark.any_engine

DAY = timedelta(days=1)


def floored(moment: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)


def timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


async def lane(place: Place, queue: str, kind: str) -> int:
    """The number of a lane, made by its first job."""
    await place.enqueue(kind, queue=queue)
    found: int = await place.value(
        "select l.id from lane l join queue q on q.id = l.queue_id join kind k on k.id = l.kind_id"
        " where q.name = $1 and k.name = $2",
        queue,
        kind,
    )
    return found


async def written(
    place: Place,
    lane_id: int,
    at: datetime,
    width: int = 10,
    server: int = 99,
    hist: str | None = None,
    **counts: int,
) -> None:
    columns = ", ".join(COUNTS)
    values = ", ".join(str(counts.get(name, 0)) for name in COUNTS)
    await place.sql(
        f"insert into lane_stat (width_s, at, lane_id, server_id, {columns}, wait_hist, run_hist)"
        f" values ($1, $2, $3, $4, {values}, $5::text::int4[], $5::text::int4[])",
        width,
        at,
        lane_id,
        server,
        hist,
    )


async def cleared(place: Place) -> datetime:
    """Forgets what the making of lanes counted. Now, by the database."""
    await place.app.stats.slices.stop()
    await place.sql("delete from lane_stat")
    now: datetime = await place.value("select now()")
    return now


async def test_steps_and_series_have_what_happened_in_them_and_empty_ones_are_left_out(place: Place) -> None:
    one, two = await lane(place, "mail", "send"), await lane(place, "mail", "read")
    other = await lane(place, "images", "scale")
    now = await cleared(place)
    base = floored(now, 60) - timedelta(minutes=10)
    for lane_id, after, jobs in ((one, 0, 1), (one, 10, 2), (two, 10, 4), (other, 70, 8)):
        await written(place, lane_id, base + timedelta(seconds=after), enqueued=jobs)
    since = timestamp(base)
    (whole,) = (await stats(place, since=since)).series
    assert [(point.at.ToDatetime(UTC) - base, point.totals.enqueued) for point in whole.points] == [
        (timedelta(0), 1), (timedelta(seconds=10), 6), (timedelta(seconds=70), 8),
    ]  # fmt: skip
    answer = await stats(place, since=since, step=Duration(seconds=60), group_by=stats_pb2.GROUP_BY_QUEUE)
    found = {series.queue: [point.totals.enqueued for point in series.points] for series in answer.series}
    assert found == {"mail": [7], "images": [8]}
    assert [series.queue for series in answer.series] == ["images", "mail"]
    by_kind = await stats(place, since=since, queue="mail", group_by=stats_pb2.GROUP_BY_KIND)
    assert {series.kind: series.totals.enqueued for series in by_kind.series} == {"send": 3, "read": 4}
    (alone,) = (await stats(place, since=since, kind="scale")).series
    assert alone.totals.enqueued == 8


async def test_how_long_jobs_waited_is_right_within_a_factor_of_two(place: Place) -> None:
    lane_id = await lane(place, "mail", "send")
    now = await cleared(place)
    # 50 up to 1 ms, 49 of 8 to 16 ms, one of more than a second.
    hist = [50, 0, 0, 0, 49, 0, 0, 0, 0, 0, 0, 1]
    await written(
        place,
        lane_id,
        floored(now, 10) - timedelta(minutes=1),
        started=100,
        hist=f"{{{','.join(map(str, hist))}}}",
    )
    (series,) = (await stats(place)).series
    totals = series.totals
    assert totals.wait_p50.ToTimedelta() == timedelta(milliseconds=1)
    assert timedelta(milliseconds=8) < totals.wait_p99.ToTimedelta() <= timedelta(milliseconds=16)
    assert totals.run_p99.ToTimedelta() == totals.wait_p99.ToTimedelta()


async def test_a_step_is_never_shorter_than_what_is_kept_of_its_time(place: Place) -> None:
    lane_id = await lane(place, "mail", "send")
    now = await cleared(place)
    asked = {"step": Duration(seconds=70)}
    assert (await stats(place, **asked)).step.seconds == 70
    hours = timestamp(now - timedelta(hours=3))
    assert (await stats(place, since=hours, **asked)).step.seconds == 120
    days = timestamp(now - 3 * DAY)
    assert (await stats(place, since=days, step=Duration(seconds=3600))).step.seconds == 3600
    assert (await stats(place, since=days, step=Duration(seconds=910))).step.seconds == 1800
    # Without one, so many points as can be looked at.
    usual = [(timedelta(hours=1), 10), (timedelta(hours=12), 300), (7 * DAY, 3600), (90 * DAY, 6 * 3600)]
    for back, step in usual:
        answer = await stats(place, since=timestamp(now - back))
        assert answer.step.seconds == step, back
    del lane_id


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("request_of", "field"),
    [
        (lambda now: {"queue": "No"}, "queue"),
        (lambda now: {"kind": "No"}, "kind"),
        (lambda now: {"since": timestamp(now), "until": timestamp(now)}, "since"),
        (lambda now: {"since": timestamp(now + DAY)}, "since"),
        (lambda now: {"step": Duration(seconds=15)}, "step"),
        (lambda now: {"step": Duration(seconds=5)}, "step"),
        (lambda now: {"step": Duration(seconds=91 * 86400)}, "step"),
        (lambda now: {"since": timestamp(now - DAY), "step": Duration(seconds=60)}, "step"),
        (lambda now: {"group_by": 9}, "group_by"),
    ],
)
async def test_a_field_that_is_wrong_is_named_with_what_would_be_right(
    place: Place, request_of: Any, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stats(place, **request_of(datetime.now(UTC)))
    assert reason_of(raised.value) == "FIELD_INVALID"
    assert list(violations_of(raised.value)) == [field]


async def test_a_roll_up_keeps_every_sum_and_every_bucket_and_adds_up_servers(place: Place) -> None:
    lanes = [await lane(place, "mail", "send"), await lane(place, "images", "scale")]
    now = await cleared(place)
    hour, day = floored(now, 60) - timedelta(hours=2), floored(now, 900) - 2 * DAY
    for number, lane_id in enumerate(lanes, 1):
        for server in (7, 8):
            for after in range(0, 120, 10):
                await written(
                    place, lane_id, hour + timedelta(seconds=after), server=server, hist=f"{{{number},{server}}}",
                    enqueued=number, lost=1,
                )  # fmt: skip
        for after in range(0, 1800, 60):
            await written(place, lane_id, day + timedelta(seconds=after), 60, 0, hist="{0,1,2}", failed=3)
        # These stay: it is not their time yet.
        await written(place, lane_id, floored(now, 10) - timedelta(minutes=30), enqueued=5)
        await written(place, lane_id, floored(now, 60) - timedelta(hours=20), 60, 0, enqueued=6)
        await written(place, lane_id, floored(now, 900) - 80 * DAY, 900, 0, enqueued=7)
    buckets = "select sum(wait_hist[{0}]) as a, sum(run_hist[{0}]) as b from lane_stat"
    before = await sums_of(place), [await place.sql(buckets.format(bucket)) for bucket in range(1, 25)]
    (was,) = (await stats(place, since=timestamp(now - 89 * DAY))).series
    await place.app.stats.roll_up.roll_up()
    after_it = await sums_of(place), [await place.sql(buckets.format(bucket)) for bucket in range(1, 25)]
    assert after_it[0] == before[0]
    assert [tuple(row or 0 for row in rows[0]) for rows in after_it[1]] == [
        tuple(row or 0 for row in rows[0]) for rows in before[1]
    ]
    rows = await place.sql("select width_s, count(*)::int4 as n from lane_stat group by 1 order by 1")
    assert [(row["width_s"], row["n"]) for row in rows] == [(10, 2), (60, 2 * (2 + 1)), (900, 2 * (2 + 1))]
    (row,) = await place.sql(
        "select enqueued, wait_hist[1:2] as w from lane_stat where width_s = 60 and at = $1 and lane_id = $2",
        hour,
        lanes[0],
    )
    assert (row["enqueued"], row["w"]) == (12, [12, 6 * (7 + 8)])
    place.app.stats.histories._answers._reads.clear()
    (now_is,) = (await stats(place, since=timestamp(now - 89 * DAY))).series
    assert now_is.totals == was.totals


async def test_a_slice_that_comes_late_adds_to_what_was_rolled_up(place: Place) -> None:
    lane_id = await lane(place, "mail", "send")
    now = await cleared(place)
    hour = floored(now, 60) - timedelta(hours=2)
    for _ in range(2):
        await written(place, lane_id, hour, hist="{1,2}", enqueued=1)
        await place.app.stats.roll_up.roll_up()
    (row,) = await place.sql("select width_s, enqueued, wait_hist[1:3] as w from lane_stat")
    assert (row["width_s"], row["enqueued"], row["w"]) == (60, 2, [2, 4, 0])


async def test_what_is_older_than_90_days_goes_and_the_rest_stays(place: Place) -> None:
    lane_id = await lane(place, "mail", "send")
    now = await cleared(place)
    for days in (89, 91, 100):
        await written(place, lane_id, floored(now, 900) - days * DAY, 900, 0, enqueued=days)
    await place.app.stats.roll_up.roll_up()
    assert (await sums_of(place))["enqueued"] == 89


async def test_more_lanes_than_are_kept_apart_are_counted_together_by_their_namespace(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue_server.core.stats.slices.MOST_LANES", 2)
    await place.batch(3, "a")
    await place.batch(2, "b")
    await place.enqueue("c")
    await place.enqueue("d")
    await place.app.stats.slices.stop()
    rows = await place.sql("select lane_id < 0 as other, enqueued from lane_stat order by enqueued desc")
    assert [(row["other"], row["enqueued"]) for row in rows] in (
        [(False, 3), (False, 2), (True, 2)],
        [(False, 3), (True, 2), (False, 2)],
    )
    answer = await stats(place, group_by=stats_pb2.GROUP_BY_KIND)
    assert {series.kind: series.totals.enqueued for series in answer.series} == {"a": 3, "b": 2, "(other)": 2}


async def test_series_beyond_the_twenty_with_most_jobs_are_counted_as_left_out(place: Place) -> None:
    lanes = [await lane(place, "mail", f"k{number:02}") for number in range(22)]
    now = await cleared(place)
    for number, lane_id in enumerate(lanes):
        await written(place, lane_id, floored(now, 10) - timedelta(minutes=1), enqueued=number + 1)
    answer = await stats(place, group_by=stats_pb2.GROUP_BY_KIND)
    assert [series.kind for series in answer.series] == [f"k{number:02}" for number in range(21, 1, -1)]
    assert answer.series_left_out == 2


@pytest.mark.parametrize("name", ["sums", "points"])
async def test_a_roll_up_between_two_pieces_takes_nothing_from_them(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It moves what it rolls up to an earlier time, of which the piece is read already."""
    lanes = [await lane(place, "mail", f"k{number:02}") for number in range(22)]
    now = await cleared(place)
    day = floored(now, 900) - 2 * DAY
    # The first of 22 series is among the twenty with most jobs by what happened in these minutes alone.
    for after in range(2220, 2700, 60):
        await written(place, lanes[0], day + timedelta(seconds=after), 60, 0, hist="{1,2}", enqueued=1)
    for lane_id in lanes[1:]:
        await written(place, lane_id, day, 60, 0, enqueued=2)
    monkeypatch.setattr("jobqueue_server.core.stats.pieces.FIRST", timedelta(minutes=37))
    monkeypatch.setattr("jobqueue_server.core.stats.pieces.PIECE_SECONDS", 0.0)
    histories = place.app.stats.histories
    read = getattr(histories._store, name)
    pieces = 0

    async def rolled_up(*given: Any) -> Any:
        nonlocal pieces
        pieces += 1
        found = await read(*given)
        if pieces == 1:
            await place.app.stats.roll_up.roll_up()
        return found

    monkeypatch.setattr(histories._store, name, rolled_up)
    answer = await stats(
        place,
        since=timestamp(day),
        until=timestamp(day + timedelta(hours=1)),
        group_by=stats_pb2.GROUP_BY_KIND,
    )
    assert pieces > 1
    assert {series.kind: series.totals.enqueued for series in answer.series}.get("k00") == 8


async def test_a_time_that_is_read_in_pieces_has_the_same_points_and_sums(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await lane(place, "mail", "send"), await lane(place, "images", "scale")
    now = await cleared(place)
    base = floored(now, 3600) - timedelta(hours=20)
    for number in range(90):
        for lane_id in (one, two):
            at = base + timedelta(minutes=7 * number)
            await written(place, lane_id, at, width=60, hist="{1,2}", enqueued=number + lane_id, started=3)
    wanted = {
        "since": timestamp(base + timedelta(minutes=7)),
        "until": timestamp(base + timedelta(hours=9)),
        "step": Duration(seconds=3600),
        "group_by": stats_pb2.GROUP_BY_QUEUE,
    }
    whole = await stats(place, **wanted)
    place.app.stats.histories._answers._reads.clear()
    monkeypatch.setattr("jobqueue_server.core.stats.pieces.FIRST", timedelta(minutes=11))
    monkeypatch.setattr("jobqueue_server.core.stats.pieces.PIECE_SECONDS", 0.0)
    reads = []
    points = place.app.stats.histories._store.points

    async def noted(*given: Any) -> Any:
        reads.append(given[:2])
        return await points(*given)

    monkeypatch.setattr(place.app.stats.histories._store, "points", noted)
    pieces = await stats(place, **wanted)
    assert len(reads) > 20
    assert list(pieces.series) == list(whole.series)
    assert [len(series.points) for series in whole.series] == [9, 9]
    assert whole.series[0].totals.started == 3 * sum(1 for number in range(90) if number * 7 < 540)
