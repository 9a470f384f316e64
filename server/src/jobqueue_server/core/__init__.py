"""The service: what the queue does, without knowing how it is called. It knows the store and no transport."""
