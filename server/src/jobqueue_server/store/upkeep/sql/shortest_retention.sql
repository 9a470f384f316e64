-- read: how long any queue keeps any of its jobs at least, where it says so
select least(min(q.retention_succeeded), min(q.retention_failed_permanent), min(q.retention_cancelled)) as shortest from queue q
