"""Traces: what is sent, by whom, and that who is not sampled costs nothing."""
