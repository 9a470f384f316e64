-- delete: keys that are blocked by jobs that this transaction has deleted -> calling
-- $1 semaphores int8[]  $2 the deleted jobs uuid[]
-- locks: 6
with
-- use unblock (keys = $1::int8[]; jobs = $2)
blocked as materialized (
    select t.id
    from semaphore t
    where t.id = any($1::int8[]) and t.blocked_by = any($2::uuid[]) and t.cancels_to is null
    order by t.id
    for update
)
update semaphore t set blocked_by = null, admit_at = case when t.waiting > 0 then now() end
where t.id = any(array(select id from blocked))
returning t.id
-- end of unblock
