-- soak: the partitions of six hours that a migration made, all empty -> gone; the server then makes some of its own width
do $$
declare
    p record;
begin
    for p in select name from job_partition loop
        execute format('drop table %I, %I, %I', 'job_' || p.name, 'finished_job_' || p.name, 'attempt_' || p.name);
    end loop;
    delete from job_partition;
end $$
