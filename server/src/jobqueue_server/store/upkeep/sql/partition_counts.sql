-- read: how many partitions there are, by state
select
    count(*) filter (where uuid_time(p.to_id) <= now() and not p.leftover)::int4 as past,
    count(*) filter (where uuid_time(p.from_id) <= now() and uuid_time(p.to_id) > now())::int4 as present,
    count(*) filter (where uuid_time(p.from_id) > now())::int4 as ahead,
    count(*) filter (where uuid_time(p.to_id) <= now() and p.leftover)::int4 as leftover
from job_partition p
