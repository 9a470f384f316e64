-- read: what happened in a time, in steps
-- $1 timestamptz: from then on; $2 timestamptz: until then; $3 int4[]: lanes, sorted
-- $4 int4[]: the series of each lane; $5 interval: a step; $6 timestamptz: where one begins
-- As stat_sums.sql. A slice takes 3 to 10 us, and 90 days of 100 lanes are 864,000: so a long time is read in pieces.
select ($4::int4[])[w.n] as series, date_bin($5::interval, s.at, $6) as at,
       sum(s.enqueued)::int8 as enqueued, sum(s.started)::int8 as started, sum(s.succeeded)::int8 as succeeded,
       sum(s.retried)::int8 as retried, sum(s.failed)::int8 as failed, sum(s.cancelled)::int8 as cancelled,
       sum(s.lost)::int8 as lost, sum(s.timed_out)::int8 as timed_out, sum(s.released)::int8 as released,
       case when count(s.wait_hist) > 0 then array_replace(array[
            sum(s.wait_hist[1]), sum(s.wait_hist[2]), sum(s.wait_hist[3]), sum(s.wait_hist[4]),
            sum(s.wait_hist[5]), sum(s.wait_hist[6]), sum(s.wait_hist[7]), sum(s.wait_hist[8]),
            sum(s.wait_hist[9]), sum(s.wait_hist[10]), sum(s.wait_hist[11]), sum(s.wait_hist[12]),
            sum(s.wait_hist[13]), sum(s.wait_hist[14]), sum(s.wait_hist[15]), sum(s.wait_hist[16]),
            sum(s.wait_hist[17]), sum(s.wait_hist[18]), sum(s.wait_hist[19]), sum(s.wait_hist[20]),
            sum(s.wait_hist[21]), sum(s.wait_hist[22]), sum(s.wait_hist[23]), sum(s.wait_hist[24])
        ]::int8[], null, 0) end as wait_hist,
       case when count(s.run_hist) > 0 then array_replace(array[
            sum(s.run_hist[1]), sum(s.run_hist[2]), sum(s.run_hist[3]), sum(s.run_hist[4]),
            sum(s.run_hist[5]), sum(s.run_hist[6]), sum(s.run_hist[7]), sum(s.run_hist[8]),
            sum(s.run_hist[9]), sum(s.run_hist[10]), sum(s.run_hist[11]), sum(s.run_hist[12]),
            sum(s.run_hist[13]), sum(s.run_hist[14]), sum(s.run_hist[15]), sum(s.run_hist[16]),
            sum(s.run_hist[17]), sum(s.run_hist[18]), sum(s.run_hist[19]), sum(s.run_hist[20]),
            sum(s.run_hist[21]), sum(s.run_hist[22]), sum(s.run_hist[23]), sum(s.run_hist[24])
        ]::int8[], null, 0) end as run_hist
from lane_stat s
cross join lateral (select width_bucket(s.lane_id, $3::int4[]) as n) w
where s.width_s in (10, 60, 900) and s.at >= $1 and s.at < $2 and ($3::int4[])[w.n] = s.lane_id
group by 1, 2
order by 1, 2
