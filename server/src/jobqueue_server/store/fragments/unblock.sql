-- Keys that these jobs block go on.
-- blanks: keys; jobs
blocked as materialized (
    select t.id
    from semaphore t
    where t.id = any({keys}) and t.blocked_by = any({jobs}::uuid[]) and t.cancels_to is null
    order by t.id
    for update
)
update semaphore t set blocked_by = null, admit_at = case when t.waiting > 0 then now() end
where t.id = any(array(select id from blocked))
returning t.id
