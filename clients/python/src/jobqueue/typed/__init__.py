"""Typed kinds: a value that names a kind once, with the types of its payload and its output."""
