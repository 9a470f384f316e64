-- read: how much happened in a time, by lane
-- $1 timestamptz: from then on; $2 timestamptz: until then; $3 int4[]: lanes, sorted
-- All slices of that time are passed, and those of other lanes left out by a search in $3: a join to the lanes might read the time
-- once for each of them.
select s.lane_id, sum(s.enqueued::int8 + s.started::int8 + s.succeeded::int8 + s.retried::int8 + s.failed::int8 + s.cancelled::int8 + s.lost::int8 + s.timed_out::int8 + s.released::int8)::int8 as jobs
from lane_stat s
cross join lateral (select width_bucket(s.lane_id, $3::int4[]) as n) w
where s.width_s in (10, 60, 900) and s.at >= $1 and s.at < $2 and ($3::int4[])[w.n] = s.lane_id
group by s.lane_id
