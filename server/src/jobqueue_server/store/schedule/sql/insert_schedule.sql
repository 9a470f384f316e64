-- schedule: - -> made
-- $1 int4: namespace, which this transaction has locked; $2 text: name; $3 text: queue; $4 text: kind; $5 jsonb: spec
-- $6 jsonb: job; $7 bytea: payload; $8 jsonb: policy; $9 jsonb: labels; $10 text: version of the time zones
-- $11 timestamptz: its first tick; $12 bool: whether it is paused; $13 int8: how many a namespace may have
-- $14 text: the principal that makes it; $15 text: what it showed, or empty
-- No row: it has that many, or one of this name.
insert into schedule (
    namespace_id, name, queue, kind, spec, job, payload, policy, labels, time_zones, next_at, paused_at, principal, credential
)
select $1::int4, $2::text, $3::text, $4::text, $5::jsonb, $6::jsonb, $7::bytea, $8::jsonb, $9::jsonb, $10::text,
    $11::timestamptz, case when $12::bool then now() end, $14::text, $15::text
where (select count(*) from schedule s where s.namespace_id = $1) < $13::int8
on conflict on constraint "a schedule has one name in its namespace" do nothing
returning *
