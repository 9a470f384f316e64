"""PostgreSQL: one .sql file a statement, and the only package that knows asyncpg."""
