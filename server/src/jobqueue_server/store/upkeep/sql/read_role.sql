-- role: read
-- Whether the role of this connection is a superuser, and whether it has the rights of the owner of the tables, of which
-- `job` stands for all. A superuser has those of every role, so that alone says nothing.
select r.rolsuper as superuser, pg_has_role(r.oid, t.relowner, 'usage') and not r.rolsuper as owner
from pg_roles r, pg_class t
where r.rolname = current_user and t.oid = 'job'::regclass
