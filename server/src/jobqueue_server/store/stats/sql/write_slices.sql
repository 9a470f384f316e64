-- statistics: counted -> a slice of 10 s of a server
-- $1 timestamptz: where it begins; $2 int8: the server; $3 int4[]: lanes; $4 .. $12 int4[]: of each, in the order of the
-- columns; $13, $14 text[]: histograms of waits and of runs, each as the literal of an array, or null
-- One statement for all lanes. A slice is there already only where the clock stood still: then it gets the rest.
insert into lane_stat as s (
    width_s, at, server_id, lane_id, enqueued, started, succeeded, retried, failed, cancelled, lost, timed_out, released,
    wait_hist, run_hist
)
select 10, $1::timestamptz, $2::int8, t.lane_id, t.enqueued, t.started, t.succeeded, t.retried, t.failed, t.cancelled,
       t.lost, t.timed_out, t.released,
       t.wait_hist::int4[], t.run_hist::int4[]
from unnest(
    $3::int4[], $4::int4[], $5::int4[], $6::int4[], $7::int4[], $8::int4[], $9::int4[], $10::int4[],
    $11::int4[], $12::int4[], $13::text[], $14::text[]
) as t (lane_id, enqueued, started, succeeded, retried, failed, cancelled, lost, timed_out, released, wait_hist, run_hist)
-- use add-to-slice
on conflict (width_s, at, lane_id, server_id) do update
set enqueued = s.enqueued + excluded.enqueued, started = s.started + excluded.started,
    succeeded = s.succeeded + excluded.succeeded,
    retried = s.retried + excluded.retried, failed = s.failed + excluded.failed, cancelled = s.cancelled + excluded.cancelled,
    lost = s.lost + excluded.lost, timed_out = s.timed_out + excluded.timed_out, released = s.released + excluded.released,
    wait_hist = hist_sum(s.wait_hist, excluded.wait_hist), run_hist = hist_sum(s.run_hist, excluded.run_hist)
-- end of add-to-slice
