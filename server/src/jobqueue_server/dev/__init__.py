"""`jobqueue-server dev`: the whole of JobQueue for a first look, in a folder that is removed at the end.

The way of it: `run` starts a server with its PostgreSQL, and a worker that is written as anybody's is (`worker`), as
processes of their own (`children`) at free ports (`ports`). It enqueues what `jobs` has, and says where to look
(`told`). At the end it drains both, and `guard` removes the folder.

It alone in the server uses the client's library, and nothing of a server that serves imports it.
"""
