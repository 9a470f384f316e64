"""Traces of calls, for who asks for them: without, nothing in here is imported but what is pure (docs/traces.md)."""
