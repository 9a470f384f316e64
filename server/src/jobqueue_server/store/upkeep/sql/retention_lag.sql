-- read: for how long the oldest partition that holds jobs beyond the retention has been due to go
-- $1 interval: the retention
-- A partition may stay for jobs that live or ended lately, as long as the others are swept out of it: every minute, and
-- ten minutes are given. Bounded: one row of each partition that is over age, by the BRIN index where there is none.
select coalesce(extract(epoch from max(now() - $1::interval - uuid_time(p.to_id))), 0)::float8 as seconds
from job_partition p
where uuid_time(p.to_id) <= now() - $1::interval
  and exists (
      select from finished_job f
      where f.id >= p.from_id and f.id < p.to_id and f.finished_at < now() - $1::interval - interval '10 minutes'
  )
