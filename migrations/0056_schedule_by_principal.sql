-- no-transaction
-- Which principals have schedules, and of each what is due, oldest first: where more is due than one round fires, they take turns.
create index concurrently if not exists schedule_by_principal on schedule (namespace_id, principal, next_at)
where paused_at is null and next_at is not null;
