"""HTTP/JSON for any service whose methods have google.api.http rules: from requests to messages, and back.

It depends on descriptors alone, and not on this server or its services. `Transcoder` is the entry. `template` and
`router` read and match paths, `binding` holds one rule, `query` and `body` fill the request by the strict grammar of
`scalars` and `wellknown`, `render` writes the answer, and `errors` has the errors.
Most bodies are read by `usual`, which is quick and leaves what it does not know to `body`.
"""
