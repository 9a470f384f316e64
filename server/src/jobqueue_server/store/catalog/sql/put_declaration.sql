-- kind: what its owners say of it, apart from what the catalog reads
-- $1 int4: kind, locked by this transaction; $2 int4: version or null; $3 text: schema of outputs or null;
-- $4 text: annotations, a JSON object, or null
insert into kind_declaration (kind_id, version, output_schema, annotations) values ($1, $2, $3, $4::text::jsonb)
on conflict (kind_id) do update
set version = excluded.version, output_schema = excluded.output_schema, annotations = excluded.annotations
