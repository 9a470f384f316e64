"""Clients in other languages against a real server and beside the Python one."""
