"""`make run` and `make demo`: the whole of JobQueue on this machine, at work on jobs that one can watch.

The way of it: `run` starts children by what `jobqueue-server dev` has for it (`jobqueue_server/dev/`), in a folder of
their own (`places`): receivers for mails and webhooks (`sinks`), a server with its PostgreSQL, and the worker service.
Then it enqueues a job of each kind (`work`), shows the jobs as they pass (`view`), says where to look next, and at the
end drains what it started.
"""
