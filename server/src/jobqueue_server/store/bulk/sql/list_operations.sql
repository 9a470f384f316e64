-- read: a page of operations, newest first
-- $1 int4: namespace; $2 text: of this principal alone, or null for any; $3 uuid: below this id; $4 int4: how many
select o.* from operation o
where o.namespace_id = $1 and o.id < $3 and ($2::text is null or o.principal = $2)
order by o.id desc
limit $4
