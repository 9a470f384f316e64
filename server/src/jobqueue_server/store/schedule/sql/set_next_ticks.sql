-- schedule: next_at by an older version of the time zones -> by this one
-- $1 int4[]: schedules that this transaction has locked; $2 timestamptz[]: their next ticks; $3 text: this version
update schedule s set next_at = a.next_at, time_zones = $3
from unnest($1::int4[], $2::timestamptz[]) as a (id, next_at)
where s.id = a.id
