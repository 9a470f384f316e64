"""HTTP/JSON for any service whose methods carry google.api.http rules: requests in, messages out, and back.

It knows descriptors only: no server, no socket, no service of ours. `Transcoder` is the way in; `template` and
`router` read and match paths, `binding` holds one rule, `query` and `body` fill the request with the strict grammar
of `scalars` and `wellknown`, `render` writes the answer, `errors` says what went wrong and where.
"""
