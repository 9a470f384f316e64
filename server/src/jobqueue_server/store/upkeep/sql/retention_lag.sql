-- read: for how long what is beyond the retention, or beyond that of its queue, has been due to go
-- $1 interval: the retention of what no queue says otherwise
-- A partition may stay for jobs that live, ended lately, or are kept longer by their queue, as long as the others are swept out
-- of it: every five minutes, and ten are given. One that stays is swept of what queues keep shorter, each tenth of the
-- shortest such time (core/upkeep/retention.py). Bounded: one row of each partition that is over age, by the BRIN index
-- where there is none.
with kept as (
    select least(min(q.retention_succeeded), min(q.retention_failed_permanent), min(q.retention_cancelled)) as shortest from queue q
),
late as (
    select now() - $1::interval - uuid_time(p.to_id) as span
    from job_partition p
    where uuid_time(p.to_id) <= now() - $1::interval
      and coalesce(p.swept_at, '-infinity') < now() - interval '10 minutes'
      and exists (
          select from finished_job f
          where f.id >= p.from_id and f.id < p.to_id and f.finished_at < now() - $1::interval - interval '10 minutes'
      )
    union all
    select now() - coalesce(p.swept_at, uuid_time(p.to_id) + kept.shortest) - greatest(kept.shortest / 10, interval '10 minutes')
    from job_partition p, kept
    where kept.shortest < $1::interval and uuid_time(p.to_id) <= now() - kept.shortest and uuid_time(p.to_id) > now() - $1::interval
)
select greatest(coalesce(extract(epoch from max(span)), 0), 0)::float8 as seconds from late
