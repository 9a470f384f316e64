"""Queues, kinds, lanes."""
