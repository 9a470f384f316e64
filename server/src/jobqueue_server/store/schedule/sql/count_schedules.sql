-- read: how many schedules there are, paused and not, and those that were left out most often in a row
-- $1 int4: how many of these at most
select null::text as name, null::text as namespace, null::int4 as skipped,
    count(*) filter (where s.paused_at is null) as active, count(*) filter (where s.paused_at is not null) as paused
from schedule s
union all
(
    select s.name, n.name, s.skipped_in_a_row, null, null
    from schedule s
    join namespace n on n.id = s.namespace_id
    where s.skipped_in_a_row > 0
    order by s.skipped_in_a_row desc
    limit $1
)
