-- kind: declared at start, unless it was declared before
-- $1 int4: namespace; $2 text: name; $3 text: schema
-- The guard keeps what an operator has put; a kind that was only seen is declared.
insert into kind (namespace_id, name, schema, declared_at)
values ($1, $2, $3, now())
on conflict (namespace_id, name) do update
set schema = excluded.schema,
    declared_at = excluded.declared_at,
    updated_at = greatest(clock_timestamp(), kind.updated_at + interval '1 microsecond')
where kind.declared_at is null
returning name
