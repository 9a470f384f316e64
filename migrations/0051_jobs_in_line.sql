-- How many jobs of a key stand in line, up to `most`, as a statement of its own: a statement that has waited for the lock of the
-- key's turnstile sees by it what another one let in meanwhile. The bound of a rate (promote.sql) rests on it.
create function jobs_in_line(of_stile int8, most int4) returns int4
language plpgsql volatile as $$
begin
    return (
        select count(*)
        from (
            select from live_job l where l.stile = of_stile and l.hold is null and l.state in (1, 4) limit most
        ) bounded
    );
end
$$;
