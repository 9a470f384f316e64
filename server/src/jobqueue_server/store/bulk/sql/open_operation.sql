-- operation: - -> waiting
-- $1 uuid: its id; $2 int4: namespace, which this transaction has locked; $3 text: principal; $4 int2: verb
-- $5 jsonb: request; $6 jsonb: grants; $7 text: request id or null; $8 int4: how many of a namespace may be open
-- $9 text: what the principal showed, or empty
-- No row: that many are open, or the request id names one already.
insert into operation (id, namespace_id, principal, verb, request, grants, request_id, credential)
select $1::uuid, $2::int4, $3::text, $4::int2, $5::jsonb, $6::jsonb, $7::text, $9::text
where (select count(*) from operation o where o.namespace_id = $2 and o.ended_at is null) < $8::int4
on conflict on constraint "a request id names one operation of a principal" do nothing
returning *
