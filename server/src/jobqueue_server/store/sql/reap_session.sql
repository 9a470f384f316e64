-- session: silent -> ended, if it is still silent past its ttl
-- $1 session id int8  $2 epoch int4. Checks again what expired_sessions.sql saw: a resume in between has a new epoch, and
-- a server that seemed dead may be back, with its sessions in full swing; or there was an amnesty.
update worker_session s set ended_at = now()
where s.id = $1::int8 and s.epoch = $2::int4 and s.ended_at is null
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
returning id
