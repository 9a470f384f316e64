-- read: the operation that a request id names
-- $1 int4: namespace; $2 text: principal; $3 text: request id
select o.* from operation o where o.namespace_id = $1 and o.principal = $2 and o.request_id = $3
