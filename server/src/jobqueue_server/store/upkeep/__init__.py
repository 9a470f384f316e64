"""Partitions, sweeps, the clock, levels."""
