-- audit: a page of the audit log, newest first
-- $1 int4: namespace, or null for all and for what is of none; $2, $3 uuid: ids from this one on (inclusive), up to that one
-- (exclusive): a range of time is a range of ids; $4 text: action or null; $5 text: principal or null; $6 text: object or
-- null; $7 text: outcome or null; $8 int4: rows wanted; $9 int4: rows to read, at most
-- Answers the rows that fit and, in `edge`, where the scan stopped if it gave up before it had $8 rows (null: it did not, or
-- nothing is left). The first row may have no id: it carries only `edge`.
-- Of the two branches one runs, the other ends at its one-time filter.
with scanned as materialized (
    select u.* from (
        (
            select a.* from audit a
            where $1::int4 is null and a.id >= $2 and a.id < $3
            order by a.id desc limit $9
        )
        union all
        (
            select a.* from audit a
            where $1::int4 is not null and a.namespace_id = $1 and a.id >= $2 and a.id < $3
            order by a.id desc limit $9
        )
    ) u
),
page as materialized (
    select s.* from scanned s
    where ($4::text is null or s.action = $4) and ($5::text is null or s.principal = $5)
        and ($6::text is null or s.object = $6) and ($7::text is null or s.outcome = $7)
    order by s.id desc
    limit $8
),
edge as (
    select case when (select count(*) from page) < $8 and (select count(*) from scanned) >= $9
        then (select s.id from scanned s order by s.id limit 1) end as id
)
select e.id as edge, p.id, uuid_time(p.id) as occurred_at, n.name as namespace, p.principal, p.credential, host(p.address) as address,
       p.transport, p.request_id, p.action, p.object, p.reason, p.outcome, p.details::text as details, p.count
from edge e
left join page p on true
left join namespace n on n.id = p.namespace_id
order by p.id desc
