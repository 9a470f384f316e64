-- operation: running here -> no server's, until its next step
-- $1 uuid: which; $2 int8: this server; $3 interval: how soon it may have its next step
-- No row: it has ended, rests, or another server has it.
update operation o set owner = null, next_at = now() + $3::interval
where o.id = $1 and o.owner = $2 and o.ended_at is null
returning o.id
