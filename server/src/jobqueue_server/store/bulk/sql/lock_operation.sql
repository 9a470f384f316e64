-- operation: running here, locked for a step
-- $1 uuid: which; $2 int8: this server
-- No row: it has ended, another server has it, it rests and is not to be cancelled, or its namespace is disabled: then it waits
-- until some server takes it again.
select o.* from operation o
where o.id = $1 and o.owner = $2 and o.ended_at is null
    and (o.rests_for is null or o.cancel_requested_at is not null)
    and o.namespace_id in (select n.id from namespace n where n.disabled_at is null)
for update of o
