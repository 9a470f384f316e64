-- transaction: each of its statements is planned for its own arguments
-- For labelled_ids. How many jobs have a label, no plan for any label can know: a plan that PostgreSQL keeps reads all jobs
-- along the primary key, 2.5 s of 5 million where few or none have it.
select set_config('plan_cache_mode', 'force_custom_plan', true) as mode
