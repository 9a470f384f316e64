-- schedule: next_at is by an older version of the time zones -> about to be computed anew
-- $1 text: this server's version; $2 interval: a tick that is so near stays as it is; $3 int4: how many at most
select s.*, now() as at
from schedule s
where s.time_zones < $1 and s.next_at > now() + $2::interval
limit $3
for update of s skip locked
