"""Schedules, and what became of their ticks."""
