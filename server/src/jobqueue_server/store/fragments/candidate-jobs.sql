-- The ids that a scan looks at, newest first. Of the branches one runs, the others end at their one-time filter. The literals
-- in the second branch are the partial index's.
select u.id
from (
    (
        select l.id from live_job l
        where :by = 1::int2 and l.id >= :low and l.id < :high
        order by l.id desc limit :reads
    )
    union all
    (
        select f.id from finished_job f
        where :by = 2::int2 and 5 = any(:statuses::int2[]) and f.status = 5 and f.id >= :low and f.id < :high
        order by f.id desc limit :reads
    )
    union all
    (
        select f.id from finished_job f
        where :by = 2::int2 and 6 = any(:statuses::int2[]) and f.status = 6 and f.id >= :low and f.id < :high
        order by f.id desc limit :reads
    )
    union all
    (
        select i.id from unnest(:ids::uuid[]) i (id)
        where :by = 3::int2 and i.id >= :low and i.id < :high
        order by i.id desc limit :reads
    )
    union all
    (
        select j.id from job j
        where :by = 4::int2 and j.id >= :low and j.id < :high
        order by j.id desc limit :reads
    )
) u
order by u.id desc
limit :reads
