-- operation: waiting, running -> rests
-- $1 int4[], $2 text[]: namespaces and principals, pair by pair; $3 text: why; $4 int4: how many at most
-- A row that a step has locked is passed over, so that none waits for the step of another: it is found again.
with found as materialized (
    select o.id from operation o
    where o.ended_at is null and o.rests_for is null
        and (o.namespace_id, o.principal) in (select * from unnest($1::int4[], $2::text[]))
    order by o.id
    limit $4::int4
    for update of o skip locked
)
update operation o
set rests_for = $3::text, owner = null, state = 1, updated_at = now()
where o.id = any(array(select f.id from found f))
returning o.id, o.namespace_id, o.principal
