-- kind: declared at start, or with its namespace, unless it was declared before
-- $1 int4: namespace, null: all; $2 text: name; $3 text: schema
-- The guard keeps what an operator has put; a kind that was only seen is declared.
-- locks: 5
insert into kind (namespace_id, name, schema, declared_at)
select id, $2, $3, now() from namespace where id = coalesce($1::int4, id)
on conflict (namespace_id, name) do update
set schema = excluded.schema,
    declared_at = excluded.declared_at,
    updated_at = greatest(clock_timestamp(), kind.updated_at + interval '1 microsecond')
where kind.declared_at is null
returning name
