-- statistics: slices of one width -> one of a greater width, over all servers
-- $1 int2: the width; $2 int2: the greater one; $3 interval: how old the slices are
-- $4 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- The oldest time of the greater width, whole: one step of many. A slice that came late finds its time rolled up, and adds to it.
-- The histograms are summed bucket by bucket, since an aggregate of arrays would call a function for each slice.
with first as materialized (
    select date_bin($2 * interval '1 second', min(s.at), 'epoch'::timestamptz) as at
    from lane_stat s
    where s.width_s = $1
        and s.at < date_bin($2 * interval '1 second', now() - $3::interval, 'epoch'::timestamptz)
        and now() between $4::timestamptz - interval '5 seconds' and $4::timestamptz + interval '5 seconds'
),
gone as (
    delete from lane_stat s
    where s.width_s = $1 and s.at >= (select at from first)
        and s.at < (select at from first) + $2 * interval '1 second'
    returning s.*
),
rolled as (
    insert into lane_stat as s (
        width_s, at, server_id, lane_id, enqueued, started, succeeded, retried, failed, cancelled, lost, timed_out,
        released, wait_hist, run_hist
    )
    select $2, (select at from first), 0, g.lane_id,
        sum(g.enqueued), sum(g.started), sum(g.succeeded), sum(g.retried), sum(g.failed),
        sum(g.cancelled), sum(g.lost), sum(g.timed_out), sum(g.released),
        case when count(g.wait_hist) > 0 then array_replace(array[
            sum(g.wait_hist[1]), sum(g.wait_hist[2]), sum(g.wait_hist[3]), sum(g.wait_hist[4]),
            sum(g.wait_hist[5]), sum(g.wait_hist[6]), sum(g.wait_hist[7]), sum(g.wait_hist[8]),
            sum(g.wait_hist[9]), sum(g.wait_hist[10]), sum(g.wait_hist[11]), sum(g.wait_hist[12]),
            sum(g.wait_hist[13]), sum(g.wait_hist[14]), sum(g.wait_hist[15]), sum(g.wait_hist[16]),
            sum(g.wait_hist[17]), sum(g.wait_hist[18]), sum(g.wait_hist[19]), sum(g.wait_hist[20]),
            sum(g.wait_hist[21]), sum(g.wait_hist[22]), sum(g.wait_hist[23]), sum(g.wait_hist[24])
        ]::int4[], null, 0) end,
        case when count(g.run_hist) > 0 then array_replace(array[
            sum(g.run_hist[1]), sum(g.run_hist[2]), sum(g.run_hist[3]), sum(g.run_hist[4]),
            sum(g.run_hist[5]), sum(g.run_hist[6]), sum(g.run_hist[7]), sum(g.run_hist[8]),
            sum(g.run_hist[9]), sum(g.run_hist[10]), sum(g.run_hist[11]), sum(g.run_hist[12]),
            sum(g.run_hist[13]), sum(g.run_hist[14]), sum(g.run_hist[15]), sum(g.run_hist[16]),
            sum(g.run_hist[17]), sum(g.run_hist[18]), sum(g.run_hist[19]), sum(g.run_hist[20]),
            sum(g.run_hist[21]), sum(g.run_hist[22]), sum(g.run_hist[23]), sum(g.run_hist[24])
        ]::int4[], null, 0) end
    from gone g
    group by g.lane_id
    -- use add-to-slice
    on conflict (width_s, at, lane_id, server_id) do update
    set enqueued = s.enqueued + excluded.enqueued, started = s.started + excluded.started,
        succeeded = s.succeeded + excluded.succeeded,
        retried = s.retried + excluded.retried, failed = s.failed + excluded.failed, cancelled = s.cancelled + excluded.cancelled,
        lost = s.lost + excluded.lost, timed_out = s.timed_out + excluded.timed_out, released = s.released + excluded.released,
        wait_hist = hist_sum(s.wait_hist, excluded.wait_hist), run_hist = hist_sum(s.run_hist, excluded.run_hist)
    -- end of add-to-slice
)
select count(*)::int4 as rolled from gone
