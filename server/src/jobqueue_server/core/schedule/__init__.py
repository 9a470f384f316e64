"""Schedules: when they are due, what becomes of their ticks, and the jobs that these enqueue."""
