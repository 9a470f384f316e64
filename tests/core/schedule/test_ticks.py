"""When schedules are due: the table of clock changes, what lines of cron are refused, spans, jitter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from jobqueue_server.core.schedule import zones
from jobqueue_server.core.schedule.ticks import (
    FIRST_MOMENT,
    LAST_MOMENT,
    Rule,
    SpecInvalid,
    check,
    next_tick,
    spread,
    ticks,
    told,
    upcoming,
)
from jobqueue_server.store.schedule.values import Spec

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def cron(*lines: str, zone: str = "Etc/UTC") -> Spec:
    return Spec(lines, time_zone=zone)


def local(spec: Spec, since: str, count: int) -> list[tuple[str, Rule]]:
    return [(tick.local.isoformat(), tick.rule) for tick in upcoming(spec, at(since), count)]


# What clocks that are changed mean: a line, its zone, since when, and the ticks.
CLOCK_CHANGES = {
    "autumn, a fixed time: once, the first of the two": (
        cron("30 2 * * *", zone="Europe/Berlin"),
        "2026-10-24T12:00:00+00:00",
        [("2026-10-25T02:30:00+02:00", Rule.FIRST_OF_TWO), ("2026-10-26T02:30:00+01:00", Rule.NONE)],
    ),
    "autumn, each hour: both of the two": (
        cron("0 * * * *", zone="Europe/Berlin"),
        "2026-10-24T23:30:00+00:00",
        [
            ("2026-10-25T02:00:00+02:00", Rule.FIRST_OF_TWO),
            ("2026-10-25T02:00:00+01:00", Rule.SECOND_OF_TWO),
            ("2026-10-25T03:00:00+01:00", Rule.NONE),
        ],
    ),
    "spring, a fixed time: right after the gap": (
        cron("30 2 * * *", zone="Europe/Berlin"),
        "2027-03-27T12:00:00+00:00",
        [("2027-03-28T03:00:00+02:00", Rule.AFTER_GAP), ("2027-03-29T02:30:00+02:00", Rule.NONE)],
    ),
    "spring, two fixed times in the gap: once": (
        cron("0,30 2 * * *", zone="Europe/Berlin"),
        "2027-03-27T12:00:00+00:00",
        [("2027-03-28T03:00:00+02:00", Rule.AFTER_GAP), ("2027-03-29T02:00:00+02:00", Rule.NONE)],
    ),
    "spring, each hour: none is made up": (
        cron("0 * * * *", zone="Europe/Berlin"),
        "2027-03-28T00:30:00+00:00",
        [("2027-03-28T03:00:00+02:00", Rule.NONE), ("2027-03-28T04:00:00+02:00", Rule.NONE)],
    ),
    "spring, a wildcard minute in the gap: left out": (
        cron("*/30 2 * * *", zone="Europe/Berlin"),
        "2027-03-27T12:00:00+00:00",
        [("2027-03-29T02:00:00+02:00", Rule.NONE), ("2027-03-29T02:30:00+02:00", Rule.NONE)],
    ),
    "Lord Howe's half hour": (
        cron("15 2 * * *", zone="Australia/Lord_Howe"),
        "2026-10-03T12:00:00+00:00",
        [("2026-10-04T02:30:00+11:00", Rule.AFTER_GAP), ("2026-10-05T02:15:00+11:00", Rule.NONE)],
    ),
    "Santiago's missing midnight": (
        cron("0 0 * * *", zone="America/Santiago"),
        "2026-09-05T12:00:00+00:00",
        [("2026-09-06T01:00:00-03:00", Rule.AFTER_GAP), ("2026-09-07T00:00:00-03:00", Rule.NONE)],
    ),
    "Apia's missing day": (
        cron("0 0 * * *", zone="Pacific/Apia"),
        "2011-12-29T12:00:00+00:00",
        [("2011-12-31T00:00:00+14:00", Rule.NONE), ("2012-01-01T00:00:00+14:00", Rule.NONE)],
    ),
}


@pytest.mark.parametrize("case", CLOCK_CHANGES)
def test_a_change_of_clocks_loses_no_fixed_tick_and_makes_none_twice(case: str) -> None:
    spec, since, expected = CLOCK_CHANGES[case]
    assert local(spec, since, len(expected)) == expected


def test_from_within_the_hour_that_comes_twice_no_tick_is_in_the_past() -> None:
    spec, within = cron("30 2 * * *", zone="Europe/Berlin"), at("2026-10-25T01:15:00+00:00")
    assert next_tick(spec, within) == at("2026-10-26T01:30:00+00:00")


def test_ticks_only_go_on() -> None:
    for spec in (cron("*/7 * * * *", "30 2 * * *", zone="Europe/Berlin"), Spec(every=timedelta(seconds=7))):
        for since in ("2026-10-25T00:00:01.5+00:00", "2027-03-28T00:59:59+00:00"):
            found = list(islice(ticks(spec, at(since)), 200))
            assert found == sorted(set(found))
            assert found[0] > at(since)


def test_lines_are_joined_and_a_common_tick_counts_once() -> None:
    found = islice(
        ticks(cron("0 12 * * *", "0 12 * * SAT", "0 13 * * *"), at("2026-11-28T00:00:00+00:00")), 3
    )
    assert [each.isoformat() for each in found] == [
        "2026-11-28T12:00:00+00:00",
        "2026-11-28T13:00:00+00:00",
        "2026-11-29T12:00:00+00:00",
    ]


def test_six_fields_begin_with_seconds() -> None:
    assert next_tick(cron("*/5 * * * * *"), NOW) == NOW + timedelta(seconds=5)


def test_either_day_is_enough_where_both_are_given() -> None:
    found = islice(ticks(cron("0 0 13 * FRI"), at("2026-11-28T00:00:00+00:00")), 3)
    assert [each.date().isoformat() for each in found] == ["2026-12-04", "2026-12-11", "2026-12-13"]


@pytest.mark.parametrize(
    ("short", "line"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
    ],
)
def test_a_short_line_stands_for_a_long_one(short: str, line: str) -> None:
    zone = "America/New_York"
    some = list(islice(ticks(cron(short, zone=zone), NOW), 5))
    assert some == list(islice(ticks(cron(line, zone=zone), NOW), 5))
    check(cron(short), NOW)


@pytest.mark.parametrize(
    "line", ["0 0 L * *", "0 0 LW * *", "0 0 * * 5L", "0 0 * * MON#2", "0 0 29 2 *", "1-5/2 * * JAN-MAR 7"]
)
def test_what_a_line_can_have(line: str) -> None:
    check(cron(line), NOW)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("0 0 ? * *", "write * instead"),
        ("0 0 15W * *", "LW for the last weekday"),
        ("H * * * *", "`jitter`"),
        ("H/15 * * * *", "`jitter`"),
        ("H(0-29) * * * *", "`jitter`"),
        ("0 0 30 2 *", "a month that has that day"),
        ("0 0 */40 * 1#5", "not due within 10 years"),
        ("60 * * * *", "minute must be 0 to 59"),
        ("* 24 * * *", "hour must be 0 to 23"),
        ("* * 0 * *", "day-of-month must be 1 to 31"),
        ("* * * 13 *", "month must be 1 to 12"),
        ("* * * * 8", "day-of-week must be 0 to 7"),
        ("61 * * * * *", "second must be 0 to 59"),
        ("* * * *", "has 4 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("@reboot", "@hourly"),
        ("@every 5m", "@hourly"),
        ("5-1 * * * *", "minute must be"),
        ("*/0 * * * *", "minute must be"),
        ("1#2/3 * * * *", "minute must be"),
        ("\N{DIGIT ONE}\N{ARABIC-INDIC DIGIT ONE} * * * *", "minute must be"),
        (" ", "has 0 fields"),
    ],
)
def test_a_line_that_is_refused_says_what_to_write_instead(line: str, instead: str) -> None:
    with pytest.raises(SpecInvalid) as error:
        check(cron("* * * * *", line), NOW)
    assert error.value.field == "cron[1]"
    assert instead in error.value.description


@pytest.mark.parametrize("zone", ["Europe/Berlim", "europe/berlin", "../etc/passwd", "", "Europe", "MEZ"])
def test_a_zone_that_is_unknown_is_refused(zone: str) -> None:
    with pytest.raises(SpecInvalid, match="time_zone.*Europe/Berlin"):
        check(cron("* * * * *", zone=zone), NOW)


def test_zones_are_those_of_the_package_and_not_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONTZPATH", "/nowhere")
    zones.zone.cache_clear()
    berlin = zones.zone("Europe/Berlin")
    assert NOW.astimezone(berlin).isoformat() == "2026-11-28T13:00:00+01:00"
    assert berlin is zones.zone("Europe/Berlin")
    assert zones.VERSION >= "2025b"


def test_every_counts_from_1970_on_and_not_from_the_making() -> None:
    spec = Spec(every=timedelta(minutes=10), phase=timedelta(minutes=3))
    assert next_tick(spec, at("2026-11-28T12:00:00+00:00")) == at("2026-11-28T12:03:00+00:00")
    assert next_tick(spec, at("2026-11-28T12:03:00+00:00")) == at("2026-11-28T12:13:00+00:00")
    assert next_tick(spec, at("2026-11-28T12:02:59.999999+00:00")) == at("2026-11-28T12:03:00+00:00")
    assert told(spec, at("2026-11-28T12:03:00+00:00")).rule is Rule.NONE


def test_a_schedule_has_no_tick_before_its_start_and_none_from_its_end_on() -> None:
    spec = Spec(
        ("0 * * * *",), starts_at=at("2026-11-28T14:00:00+00:00"), ends_at=at("2026-11-28T16:00:00+00:00")
    )
    assert [each.hour for each in ticks(spec, NOW)] == [14, 15]
    assert next_tick(spec, at("2026-11-28T15:00:00+00:00")) is None
    check(spec, NOW)
    with pytest.raises(SpecInvalid, match="ends_at"):
        check(spec, at("2026-11-28T15:30:00+00:00"))


def test_a_start_far_ahead_is_no_reason_to_refuse_a_line() -> None:
    spec = Spec(("0 0 1 1 *",), starts_at=at("2060-06-01T00:00:00+00:00"))
    check(spec, NOW)
    assert next_tick(spec, NOW) == at("2061-01-01T00:00:00+00:00")


@pytest.mark.parametrize("moment", [FIRST_MOMENT, LAST_MOMENT])
@pytest.mark.parametrize("zone", ["Etc/UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin"])
def test_at_both_ends_of_time_each_spec_has_its_ticks(moment: datetime, zone: str) -> None:
    for spec in (
        Spec(("* * * * * *",), time_zone=zone, starts_at=moment),
        Spec(("0 0 29 2 *", "30 2 * * *"), time_zone=zone, starts_at=moment, jitter=timedelta(hours=1)),
        Spec(every=timedelta(days=400), starts_at=moment),
        Spec(every=timedelta(seconds=1), starts_at=moment),
    ):
        check(spec, NOW)
        after = max(moment, NOW)
        first = next_tick(spec, NOW)
        assert first is not None
        assert first >= after or first > NOW
        assert upcoming(spec, moment, 5)[0].at >= moment
    check(Spec(("0 0 1 1 *",), time_zone=zone, ends_at=LAST_MOMENT), NOW)


def test_jitter_must_be_less_than_the_gap() -> None:
    check(Spec(("*/10 * * * *",), jitter=timedelta(minutes=9)), NOW)
    with pytest.raises(SpecInvalid, match="jitter.*0:10:00"):
        check(Spec(("*/10 * * * *",), jitter=timedelta(minutes=10)), NOW)


def test_jitter_is_the_same_on_each_server_and_another_for_each_tick() -> None:
    hour = timedelta(hours=1)
    elsewhere = NOW.astimezone(zones.zone("Asia/Tokyo"))
    assert spread(7, NOW, hour) == spread(7, elsewhere, hour)
    drawn = [spread(7, NOW + timedelta(minutes=each), hour) for each in range(200)]
    assert len(set(drawn)) == 200
    assert all(timedelta() <= each < hour for each in drawn)
    assert spread(8, NOW, hour) != spread(7, NOW, hour)
    assert timedelta(minutes=20) < sum(drawn, timedelta()) / 200 < timedelta(minutes=40)
