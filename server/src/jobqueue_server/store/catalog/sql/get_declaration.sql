-- kind: what its owners say of it, apart from what the catalog reads
-- $1 int4: kind
select version, output_schema, annotations::text as annotations from kind_declaration where kind_id = $1
