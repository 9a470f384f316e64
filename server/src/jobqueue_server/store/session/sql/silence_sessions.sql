-- session: open -> silent
-- $1 session id int8[]  $2 epoch int4[]  $3 how long ago its last frame was heard interval[]; each session once
-- A proxy that restarts silences thousands at once. A session that goes on elsewhere, or has ended, stays as it is.
update worker_session s
set silent_since = now() - t.ago
from unnest($1::int8[], $2::int4[], $3::interval[]) as t (id, epoch, ago)
where s.id = t.id and s.epoch = t.epoch and s.ended_at is null
returning s.id
