-- operation: rests -> waiting, of another principal
-- $1 uuid: which; $2 int4: namespace; $3 text: the principal; $4 text: its credential, or empty
-- A request id is that of a principal, and stays with it. No row: it does not rest.
update operation o
set rests_for = null, principal = $3::text, credential = $4::text, next_at = null,
    request_id = case when o.principal = $3 then o.request_id end, updated_at = now()
where o.id = $1 and o.namespace_id = $2 and o.ended_at is null and o.rests_for is not null
returning o.*
