-- audit: rows of the audit log, one for each element
-- $1 int4[]: namespace or null; $2 text[]: principal; $3 text[]: credential; $4 text[]: address or null;
-- $5 text[]: transport; $6 text[]: request id; $7 text[]: action; $8 text[]: object; $9 text[]: reason;
-- $10 text[]: outcome; $11 text[]: details as JSON; $12 int4[]: count; $13 interval[]: how long ago it was
-- The id is the database's time and chance: of two rows of one millisecond either may be the first.
insert into audit (id, namespace_id, principal, credential, address, transport, request_id, action, object, reason, outcome,
                   details, count)
select (left(uuid_at(now() - t.age)::text, 14) || '7000-' || substr(gen_random_uuid()::text, 20))::uuid,
       t.namespace_id, t.principal, t.credential, t.address::inet, t.transport, t.request_id, t.action, t.object, t.reason,
       t.outcome, t.details::jsonb, t.count
from unnest($1::int4[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::text[], $12::int4[], $13::interval[])
    as t (namespace_id, principal, credential, address, transport, request_id, action, object, reason, outcome, details,
          count, age)
returning id
