-- doctor: which rights of those that `migrate up` grants to the role of the service this role lacks, for the doctor
-- As in store/migrate.py: partitions are reached through their parents, and rows of the audit log are never changed. Only
-- what belongs to the owner of `job`: others may have tables here. A relation that is no sequence must not be asked as one,
-- also where the condition below is looked at later.
with ours as (
    select t.relowner as owner, t.relnamespace as namespace from pg_class t where t.oid = 'job'::regclass
),
wanted as (
    select c.oid, c.relname::text as name, r.name as wanted, has_table_privilege(c.oid, r.name) as granted
    from ours
    join pg_class c on c.relnamespace = ours.namespace and c.relowner = ours.owner
    cross join lateral unnest(
        case
            when c.relname in ('schema_migration', 'audit_partition') then array['select']
            when c.relname = 'audit' then array['select', 'insert']
            else array['select', 'insert', 'update', 'delete']
        end
    ) r (name)
    where c.relkind in ('r', 'p', 'v') and not c.relispartition
    union all
    select c.oid, c.relname::text, 'usage', case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'usage') end
    from ours
    join pg_class c on c.relnamespace = ours.namespace and c.relowner = ours.owner
    where c.relkind = 'S'
    union all
    select p.oid, p.proname::text, 'execute', has_function_privilege(p.oid, 'execute')
    from ours
    join pg_proc p on p.pronamespace = ours.namespace and p.proowner = ours.owner and p.prokind = 'f'
)
select w.name, string_agg(w.wanted, ', ' order by w.wanted) as lacks
from wanted w
where not w.granted
group by w.name
order by w.name
