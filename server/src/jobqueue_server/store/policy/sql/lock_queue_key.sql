-- queue: what is said of one of its keys, about to be changed
-- $1 int4: queue, locked by this transaction; $2 text: the key; $3 int4: how many keys of the queue to count
-- No row of this key: all of the values are null.
select
    k.max_running, k.paused_at is not null as paused, k.revision, t.paused_until,
    (select count(*)::int4 from (select from queue_key o where o.queue_id = $1::int4 limit $3::int4) o) as said_of
from (values (semaphore_of($1::int4, $2::text))) as named (id)
left join queue_key k on k.id = named.id
left join semaphore t on t.id = named.id and t.paused_until > now()
