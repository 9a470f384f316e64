-- kind: those of a queue's lanes, whose gates are about to be set
-- $1 int4: queue, locked by this transaction
-- What changes the limits of a kind waits for this, and then sees the queue as it was left. In one order, as each who locks
-- queues and kinds: the queue first.
-- locks: 5
select from kind where id in (select kind_id from lane where queue_id = $1) order by id for share
