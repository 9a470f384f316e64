-- kind: seen for the first time, not declared (JOBQUEUE_KINDS=open)
-- $1 int4: namespace; $2 text: name
-- locks: 5
insert into kind (namespace_id, name) values ($1, $2) on conflict (namespace_id, name) do nothing
