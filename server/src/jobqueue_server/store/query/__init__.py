"""Get, list, wait, watch."""
