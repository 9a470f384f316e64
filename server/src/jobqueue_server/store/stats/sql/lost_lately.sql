-- read: how many attempts were lost with their workers in the last hour, by lane, since when, and when last
-- By a partial index, which has such slices alone.
select s.lane_id, sum(s.lost)::int8 as lost, min(s.at) as since, max(s.at) as last
from lane_stat s
where s.lost > 0 and s.at >= now() - interval '1 hour'
group by s.lane_id
