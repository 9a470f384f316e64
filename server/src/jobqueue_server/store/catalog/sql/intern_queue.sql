-- queue: made by its first use
-- $1 int4: namespace; $2 text: name
-- The loser of a race waits for the winner's commit and inserts nothing; the next statement's snapshot sees the row.
-- locks: 4
insert into queue (namespace_id, name) values ($1, $2) on conflict (namespace_id, name) do nothing
