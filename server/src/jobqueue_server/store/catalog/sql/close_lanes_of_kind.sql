-- lane: gates of the lanes of a kind whose limits were set
-- $1 int4: kind, written by this transaction: what changes the gates of a queue has locked it, and is over
update lane set closed = closes(q, k)
from queue q, kind k
where lane.kind_id = $1 and q.id = lane.queue_id and k.id = $1 and lane.closed <> closes(q, k)
