"""What a server refuses to start with, and what it warns of. docs/hardening.md and the tests are made of this table."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from .addresses import is_loopback, split_address
from .issuers import is_safe_url, read_issuers
from .settings import Settings, SettingsInvalid, environment_name
from .store.upkeep.role import Role

#: The least length of the token of metrics, in characters: so many can't be guessed over the network.
SHORTEST_TOKEN = 20
#: How far the clocks of the host and of the database may be apart.
MOST_AHEAD = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition that a server does not start with.

    Attributes:
        setting: The name of the setting that is wrong, as attributes of `Settings` are called.
        condition: When it holds, for people; goes on after the setting.
        remedy: What to do.
        holds: Whether it does.
        accepted_by: The word of JOBQUEUE_INSECURE that accepts it; empty: nothing does.
        warns: It is a warning, and the server starts.
    """

    setting: str
    condition: str
    remedy: str
    holds: Callable[[Settings], bool]
    accepted_by: str = ""
    warns: bool = False

    @property
    def text(self) -> str:
        """What the operator is told, in one line."""
        accepted = f", or accept it by JOBQUEUE_INSECURE={self.accepted_by}" if self.accepted_by else ""
        return f"{environment_name(self.setting)} {self.condition}: {self.remedy}{accepted}"


def _is_open(address: str | None) -> bool:
    return address is not None and not is_loopback(split_address(address)[0])


def _plaintext(address: Callable[[Settings], str | None]) -> Callable[[Settings], bool]:
    return lambda settings: _is_open(address(settings)) and settings.tls_cert is None


def _serves_others(settings: Settings) -> bool:
    return _is_open(settings.grpc_addr) or _is_open(settings.http_addr)


def _let_in_unseen(settings: Settings) -> bool:
    # With an authority and no `auth`, the handshake asks each caller for a certificate.
    return _serves_others(settings) and not settings.auth and settings.tls_client_ca is None


def _takes_tokens_of_one(settings: Settings) -> bool:
    return "jwt" in settings.auth and settings.jwt_issuers is None


def _readable_by_others(path: Path | None) -> bool:
    try:
        if path is None:
            return False
        found = path.stat()
        # The server reads a file of another owner by its group, as what Kubernetes mounts, which root owns.
        others = 0o077 if found.st_uid == os.geteuid() else 0o007
        return found.st_mode & others != 0
    except OSError:
        # Reading it says why.
        return False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server sees of its database. `ahead`: how far the clock of this host is ahead of the database's."""

    role: Role
    ahead: timedelta


@dataclass(frozen=True, slots=True)
class Warned:
    """One condition that can be told by the database alone, and is warned of. Attributes as those of `Rule`."""

    setting: str
    condition: str
    remedy: str
    holds: Callable[[Settings, Seen], bool]

    @property
    def text(self) -> str:
        """What the operator is told, in one line."""
        return f"{environment_name(self.setting)} {self.condition}: {self.remedy}"


_PROXY = "set JOBQUEUE_TLS_CERT and JOBQUEUE_TLS_KEY; or name a loopback and let a proxy end TLS"

RULES = (
    Rule(
        "grpc_addr",
        "is no loopback, and without TLS all is sent in the clear, credentials too",
        _PROXY,
        _plaintext(lambda settings: settings.grpc_addr),
        "plaintext",
    ),
    Rule(
        "http_addr",
        "is no loopback, and without TLS all is sent in the clear, credentials too",
        _PROXY,
        _plaintext(lambda settings: settings.http_addr),
        "plaintext",
    ),
    Rule(
        "auth",
        "is empty, so each caller may do everything, and an address that is served is no loopback",
        "set JOBQUEUE_AUTH, such as to keys",
        _let_in_unseen,
        "no-auth",
    ),
    Rule(
        "auth",
        "has mtls, and no authority signs the certificates of callers",
        "set JOBQUEUE_TLS_CLIENT_CA",
        lambda settings: "mtls" in settings.auth and settings.tls_client_ca is None,
    ),
    Rule(
        "auth",
        "has mtls beside others, so that certificates are asked for and not demanded, which the engine grpcio can't",
        "leave JOBQUEUE_GRPC_ENGINE at http2, or take mtls alone",
        lambda settings: (
            "mtls" in settings.auth and len(settings.auth) > 1 and settings.grpc_engine == "grpcio"
        ),
    ),
    Rule(
        "auth",
        "has jwt, and the library that checks tokens is not installed",
        "pip install 'jobqueue-server[oidc]'",
        lambda settings: "jwt" in settings.auth and importlib.util.find_spec("joserfc") is None,
    ),
    Rule(
        "jwt_issuer",
        "is empty or has a #, while JOBQUEUE_AUTH has jwt",
        "name the issuer, as the claim iss of its tokens does",
        lambda settings: (
            _takes_tokens_of_one(settings) and (not settings.jwt_issuer or "#" in settings.jwt_issuer)
        ),
    ),
    Rule(
        "jwt_audience",
        "is empty, while JOBQUEUE_AUTH has jwt, so that tokens for other programs would be taken",
        "name the audience that the issuer gives tokens for this server",
        lambda settings: _takes_tokens_of_one(settings) and not settings.jwt_audience,
    ),
    Rule(
        "jwt_jwks_url",
        "is no https URL, so that anyone on the way could put keys of their own there",
        "name where the issuer's keys are by https; http is for a loopback",
        lambda settings: _takes_tokens_of_one(settings) and not is_safe_url(settings.jwt_jwks_url),
    ),
    Rule(
        "jwt_issuers",
        "is set beside JOBQUEUE_JWT_ISSUER, JOBQUEUE_JWT_AUDIENCE or JOBQUEUE_JWT_JWKS_URL",
        "give that issuer a table in the file too, and leave those empty",
        lambda settings: (
            settings.jwt_issuers is not None
            and bool(settings.jwt_issuer or settings.jwt_audience or settings.jwt_jwks_url)
        ),
    ),
    Rule(
        "metrics_addr",
        "is no loopback, and metrics name queues and kinds to each who reads them, while callers need credentials",
        "set JOBQUEUE_METRICS_TOKEN_FILE",
        lambda settings: (
            _is_open(settings.metrics_addr) and bool(settings.auth) and settings.metrics_token_file is None
        ),
        "public-metrics",
    ),
    Rule(
        "reflection",
        "is on, which tells the contract to each who asks on an address that is no loopback, while callers need "
        "credentials",
        "leave it at auto, where it is for callers with credentials",
        lambda settings: settings.reflection == "on" and _is_open(settings.grpc_addr) and bool(settings.auth),
        "public-docs",
    ),
    Rule(
        "tls_client_crl",
        "is set, and the engine grpcio does not look at it, so that revoked certificates are let in",
        "leave JOBQUEUE_GRPC_ENGINE at http2",
        lambda settings: settings.tls_client_crl is not None and settings.grpc_engine == "grpcio",
    ),
    Rule(
        "cors_origins",
        "is *, so that each page may call with what a browser knows, while callers need credentials",
        "list the origins",
        lambda settings: "*" in settings.cors_origins and bool(settings.auth),
    ),
    Rule(
        "tls_key",
        "can be read by others than its owner",
        "chmod 600",
        lambda settings: _readable_by_others(settings.tls_key),
        warns=True,
    ),
    Rule(
        "metrics_token_file",
        "can be read by others than its owner",
        "chmod 600",
        lambda settings: _readable_by_others(settings.metrics_token_file),
        warns=True,
    ),
)


_A_ROLE_THAT_OWNS_NOTHING = (
    "create a role that owns nothing, name it here and the owner in JOBQUEUE_MIGRATE_DATABASE_URL, and run "
    "jobqueue-server migrate up"
)

#: What can be told once the database has answered. An embedded one is the server's own, and is not looked at.
WARNED = (
    Warned(
        "database_url",
        "has a superuser for its role, so that who takes over the server has the whole of PostgreSQL",
        _A_ROLE_THAT_OWNS_NOTHING,
        lambda settings, seen: seen.role.superuser,
    ),
    Warned(
        "database_url",
        "has the owner of the tables for its role, so that who takes over the server can change and drop them",
        _A_ROLE_THAT_OWNS_NOTHING,
        lambda settings, seen: seen.role.owner,
    ),
    Warned(
        "auth",
        f"has jwt, and the clock of this host is more than {MOST_AHEAD.total_seconds():g} s from the database's, by "
        "which tokens end",
        "set both by NTP",
        lambda settings, seen: "jwt" in settings.auth and abs(seen.ahead) > MOST_AHEAD,
    ),
)


def warnings_of(settings: Settings, seen: Seen) -> list[str]:
    """What is warned of once the database has answered."""
    return [rule.text for rule in WARNED if rule.holds(settings, seen)]


def found(settings: Settings) -> Iterator[Rule]:
    """The rules that hold for these settings and that are not accepted."""
    for rule in RULES:
        if rule.accepted_by not in settings.insecure and rule.holds(settings):
            yield rule


def check(settings: Settings) -> list[str]:
    """Refuses what a server must not be started with; its answer is what to warn of.

    Raises:
        SettingsInvalid: Naming every setting that is wrong, and what to do.
    """
    wrong = list(found(settings))
    if refused := [rule.text for rule in wrong if not rule.warns]:
        raise SettingsInvalid("\n".join(refused))
    metrics_token(settings)
    read_issuers(settings)
    return [rule.text for rule in wrong]


def metrics_token(settings: Settings) -> str | None:
    """What a reader of the metrics has to show; None: nothing.

    Raises:
        SettingsInvalid: The file can't be used.
    """
    path = settings.metrics_token_file
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsInvalid(f"JOBQUEUE_METRICS_TOKEN_FILE: {path} can't be read: {reason}") from None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or len(token.split()) != 1:
        raise SettingsInvalid(
            f"JOBQUEUE_METRICS_TOKEN_FILE: {path} should hold one line of {SHORTEST_TOKEN} or more ASCII characters "
            "without spaces, such as `openssl rand -hex 32` prints"
        )
    return token
