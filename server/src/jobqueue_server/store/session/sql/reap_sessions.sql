-- session: silent -> ended, those that are still silent past their ttl
-- $1 session id int8[]  $2 epoch int4[]; each session once
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- Checks again what expired_sessions.sql saw: a resume in between has a new epoch, and a server that seemed dead may be
-- back, with its sessions in full swing; or there was an amnesty.
-- A session that is locked is being resumed, or reaped by another server: the next reaping reads it again.
with told as materialized (
    select * from unnest($1::int8[], $2::int4[]) as t (id, epoch)
),
over as materialized (
    select s.id
    from worker_session s
    where s.id = any($1::int8[])
        and (s.id, s.epoch) in (select id, epoch from told)
        and s.ended_at is null
        and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
        and exists (select from server where heartbeat_at > now() - interval '10 seconds')
        and (
            s.silent_since + s.ttl <= now()
            or (
                s.silent_since is null
                and coalesce((select v.heartbeat_at from server v where v.id = s.server_id), s.opened_at)
                    + greatest(s.ttl, interval '12 seconds') <= now()
            )
        )
        and (select a.granted_at from amnesty a) + greatest(s.ttl, interval '12 seconds') <= now()
    for update of s skip locked
)
update worker_session s set ended_at = now()
from over o
where s.id = o.id
returning s.id
