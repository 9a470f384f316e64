-- statistics: - -> slices of 90 days, as servers would have written and rolled them up
-- $1 int4[]: lanes; $2 interval: how far back
-- No time is in two slices: those of a width end before those of the next smaller one begin.
insert into lane_stat (
    width_s, at, lane_id, server_id, enqueued, started, succeeded, retried, failed, cancelled, lost, timed_out, released,
    wait_hist, run_hist
)
select w.width_s, s.at, l.id, w.server_id, 90 * w.tens, 90 * w.tens, 88 * w.tens, w.tens, w.tens, 0, 0, 0, 0,
       array[0, 2, 8, 20, 30, 20, 6, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]::int4[],
       array[0, 0, 0, 5, 15, 30, 25, 10, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]::int4[]
from (
    values (10, 1, 1, interval '1 hour', interval '20 seconds'),
           (60, 6, 0, interval '1 day', interval '1 hour'),
           (900, 90, 0, interval '90 days', interval '1 day')
) as w (width_s, tens, server_id, since, until)
cross join lateral generate_series(
    date_bin(w.width_s * interval '1 second', now() - least(w.since, $2::interval), 'epoch') + w.width_s * interval '1 second',
    date_bin(w.width_s * interval '1 second', now() - w.until, 'epoch') - w.width_s * interval '1 second',
    w.width_s * interval '1 second'
) as s (at)
cross join unnest($1::int4[]) as l (id)
on conflict do nothing
