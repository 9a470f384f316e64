-- Those candidates that fit a filter. The laterals with a limit look into one partition each, and make nested loops, which
-- stop as soon as there are enough. `is true` keeps the check of the lane a filter, by a hash, where a join would end the
-- loops.
-- needs: candidate, wanted_lane
from candidate c
cross join lateral (select job.lane_id, job.labels from job where job.id = c.id limit 1) j
cross join lateral (
    select coalesce(
        (select f.status from finished_job f where f.id = c.id),
        (select case when l.state = 2 then 2 when l.failures + l.losses > 0 then 4 else 1 end
         from live_job l where l.id = c.id)
    )::int2 as status
    limit 1
) s
where (j.lane_id in (select id from wanted_lane)) is true
    and (:labels::jsonb is null or j.labels @> :labels::jsonb)
    and s.status is not null
    and (:statuses::int2[] is null or s.status = any(:statuses::int2[]))
