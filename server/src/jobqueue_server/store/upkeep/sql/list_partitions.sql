-- retention: read the partitions, oldest first
-- ended_at is the moment after which its ids cannot be; bytes is the size of its bodies on disk.
select
    p.name, p.from_id, p.to_id, p.leftover, uuid_time(p.to_id) as ended_at, now() as read_at,
    coalesce(pg_total_relation_size(to_regclass(quote_ident('job_' || p.name))), 0) as bytes,
    p.swept_to, p.swept_at
from job_partition p
order by p.from_id
