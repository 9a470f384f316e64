-- access: every namespace
select id, name, disabled_at is not null as disabled from namespace order by id
