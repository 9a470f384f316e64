-- read: an operation
-- $1 uuid: which; $2 int4: namespace; $3 text: of this principal alone, or null for any
select o.* from operation o where o.id = $1 and o.namespace_id = $2 and ($3::text is null or o.principal = $3)
