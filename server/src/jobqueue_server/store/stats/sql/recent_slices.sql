-- read: what happened lately, by lane
-- $1 timestamptz: from then on; $2 timestamptz: until then
-- Slices of 10 s alone, of all lanes and servers: two of each, for the overview.
select s.lane_id, sum(s.enqueued)::int8 as enqueued, sum(s.started)::int8 as started, sum(s.succeeded)::int8 as succeeded,
       sum(s.retried)::int8 as retried, sum(s.failed)::int8 as failed, sum(s.cancelled)::int8 as cancelled,
       sum(s.lost)::int8 as lost, sum(s.timed_out)::int8 as timed_out, sum(s.released)::int8 as released
from lane_stat s
where s.width_s = 10 and s.at >= $1 and s.at < $2
group by s.lane_id
