-- read: how many queues a namespace has, counted to a bound
-- $1 int4: namespace; $2 int4: so many at most
select count(*)::int4 as queues from (select from queue q where q.namespace_id = $1 limit $2::int4) bounded
