-- read: what the attempts before left behind for these, which were just claimed again
-- $1 job id uuid[]
-- Not a part of bodies.sql: most jobs are claimed once, and have no checkpoint.
select job_id, checkpoint
from job_progress
where job_id = any($1::uuid[]) and checkpoint is not null
