-- read: the settings on which an OK to an enqueue rests
-- An acknowledged job survives kill -9 of everything only with these.
select
    current_setting('fsync') as fsync,
    current_setting('full_page_writes') as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit
