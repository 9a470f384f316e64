"""JSON Schemas of the built-in kinds' payloads: `<kind>.json` each, in the 2020-12 dialect."""
