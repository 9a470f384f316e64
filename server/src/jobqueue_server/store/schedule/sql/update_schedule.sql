-- schedule: as its callers want it -> otherwise
-- $1 int4: its id, which this transaction has locked; $2 text: queue; $3 text: kind; $4 jsonb: spec; $5 jsonb: job
-- $6 bytea: payload; $7 jsonb: policy; $8 jsonb: labels; $9 text: version of the time zones; $10 timestamptz: its next tick
-- $11 text: its principal from now on; $12 text: what that showed, or empty
-- A tick that waits goes on waiting, also by another policy. The version is that of a next tick which is computed anew.
update schedule
set queue = $2, kind = $3, spec = $4, job = $5, payload = $6, policy = $7, labels = $8,
    time_zones = case when next_at is distinct from $10 then $9 else time_zones end, next_at = $10,
    principal = $11, credential = $12,
    revision = revision + 1, updated_at = now()
where id = $1
