-- read: how many jobs each session holds, by lane
-- $1 int4: how many jobs are counted, of all sessions together
-- Shared by all who look, for 2 s. It reads the index of what is held, and the rows for their lanes.
select h.session_id, h.lane_id, count(*)::int4 as jobs
from (select l.session_id, l.lane_id from live_job l where l.state = 2 limit $1::int4) h
group by h.session_id, h.lane_id
