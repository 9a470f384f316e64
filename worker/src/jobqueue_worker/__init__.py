"""The worker service of JobQueue: the built-in handlers, and a host for handlers of your own."""
