-- read: how many jobs of kinds with a rate may start now
-- $1 int4[]: kinds
select k.id, starts_of_rate(r.tat, now(), k.rate_count, k.rate_period_ms, k.rate_burst) as jobs
from kind k
left join kind_rate r on r.kind_id = k.id
where k.id = any($1::int4[]) and k.rate_count is not null
