-- access: keys were used since
-- $1 text[]: ids
-- The guard keeps several servers from writing the same row each time.
update api_key set last_used_at = now()
where id = any($1::text[]) and (last_used_at is null or last_used_at < now() - interval '50 seconds')
