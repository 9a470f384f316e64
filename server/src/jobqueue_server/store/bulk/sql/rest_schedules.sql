-- schedule: fires at its times -> paused
-- $1 int4[], $2 text[]: namespaces and principals, pair by pair; $3 text: why; $4 int4: how many at most
-- A row that is locked, as that of one which fires, is passed over: it is found again.
with theirs as materialized (
    select s.id
    from unnest($1::int4[], $2::text[]) as w (namespace_id, principal)
    join schedule s on s.namespace_id = w.namespace_id and s.principal = w.principal
    where s.paused_at is null and s.next_at is not null
    union
    select s.id from schedule s
    where s.buffered_at is not null and s.paused_at is null
        and (s.namespace_id, s.principal) in (select * from unnest($1::int4[], $2::text[]))
),
found as materialized (
    select s.id from schedule s
    where s.id = any(array(select t.id from theirs t)) and s.paused_at is null
    limit $4::int4
    for update of s skip locked
)
update schedule s
set paused_at = now(), pause_note = $3::text
where s.id = any(array(select f.id from found f))
returning s.name, s.namespace_id, s.principal
