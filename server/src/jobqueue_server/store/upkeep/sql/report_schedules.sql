-- read: the schedules that are due, for the report after a restore; $1 int4: at most so many
select s.*, n.name as namespace, now() as at
from schedule s
join namespace n on n.id = s.namespace_id
where s.paused_at is null and s.next_at <= now() and n.disabled_at is null
order by n.name, s.name
limit $1::int4
