-- A lane names its namespace, so that a job is found within it by its lane alone.

-- Null means its queue's: an older server, which does not know the column, makes such lanes.
alter table lane add column namespace_id int4 references namespace;
comment on column lane.namespace_id is 'The namespace of its queue and its kind; null means its queue''s.';
update lane l set namespace_id = q.namespace_id from queue q where q.id = l.queue_id;
