"""Measurements: never part of the tests, always of whole processes on loopback."""
