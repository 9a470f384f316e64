-- operation: ended -> -
-- $1 uuid: which; $2 int4: namespace
-- No row: it has not ended, or there is none.
delete from operation o where o.id = $1 and o.namespace_id = $2 and o.ended_at is not null returning o.id
