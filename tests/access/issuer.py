"""An issuer of tokens on loopback, whose keys a server reads."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

NAME, AUDIENCE = "https://id.example.com", "jobqueue"


class Issuer:
    """`with Issuer() as issuer`. Attributes of it may be changed while it answers.

    Attributes:
        keys: By their ids; the public parts are published.
        asked: How often its keys were asked for.
        answer: What it does instead of telling its keys.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.asked = 0
        self.answer: Any = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                if issuer.answer is not None:
                    issuer.answer(self)
                    return
                issuer.tell(self, {"keys": [key.as_dict(private=False) for key in issuer.keys.values()]})

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    @staticmethod
    def tell(request: BaseHTTPRequestHandler, answer: object, status: int = 200, **headers: str) -> None:
        """Answers with JSON."""
        body = json.dumps(answer).encode()
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def new_key(self, kid: str, kind: str = "EC") -> Key:
        """Makes a key and publishes it."""
        if kind == "EC":
            self.keys[kid] = ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})
        else:
            self.keys[kid] = RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})
        return self.keys[kid]

    def token(
        self, kid: str = "one", alg: str = "ES256", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token that is good but for what is said here. A claim that is None is left out."""
        now = int(time.time())
        all_claims = {"iss": NAME, "aud": AUDIENCE, "sub": "mailer", "iat": now, "exp": now + 600, **claims}
        given = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode({"alg": alg, "kid": kid, **(header or {})}, given, self.keys[kid], algorithms=[alg])

    def __enter__(self) -> Self:
        self.new_key("one")
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
