"""The file of several issuers: what can't be used ends the start, and is named with its place and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobqueue_server.issuers import read_issuers
from jobqueue_server.settings import Settings

from .test_cli import run

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
[company]
issuer = "https://id.example.com"
audience = "jobqueue"
jwks_url = "https://id.example.com/keys"
"""


def having(key: str, value: str) -> str:
    """The good file with another value, or another key."""
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{key} ")]
    return "\n".join([*lines, f"{key} = {value}" if value else ""])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty: write a table for each issuer, such as [company]"),
        ("[company", "is not TOML: "),
        ('issuer = "x"', "issuer is in no table: write a table for each issuer, such as [company]"),
        (
            having("issuer", ""),
            "[company] issuer is missing: name the issuer, as the claim iss of its tokens does",
        ),
        (having("audience", ""), "[company] audience is missing: name the audience that the issuer gives"),
        (having("audience", '""'), "[company] audience should be a text: name the audience"),
        (having("audience", '["a"]'), "[company] audience should be a text: name the audience"),
        (having("jwks_url", ""), "[company] jwks_url is missing: name where the issuer's keys are by https"),
        (
            having("jwks_url", '"http://id.example.com/keys"'),
            "[company] jwks_url should be an https URL; http is for a loopback",
        ),
        (having("jwks_url", '"https://[/keys"'), "[company] jwks_url should be an https URL"),
        (having("issuer", '"https://id.example.com#a"'), "[company] issuer should have no #"),
        (having("algorithms", '["HS256"]'), "[company] algorithms should be a list of ES256, ES384, "),
        (
            having("algorithms", '"ES256"'),
            "[company] algorithms should be a list of texts, such as ['ES256', 'RS256']",
        ),
        (having("claims", "[]"), "[company] claims should be a list of texts, such as ['sub']"),
        (
            having("jwks_uri", '"https://x"'),
            "[company] jwks_uri is no key of an issuer; did you mean jwks_url?",
        ),
        (
            having("colour", "1"),
            "[company] colour is no key of an issuer; there are issuer, audience, jwks_url, ",
        ),
        (
            GOOD + GOOD.replace("[company]", "[again]"),
            "[again] issuer is that of [company] too: write one table",
        ),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_start_with_2_and_names_the_place_and_the_remedy(
    text: str, said: str, tmp_path: Path
):
    path = tmp_path / "issuers.toml"
    path.write_text(text)
    done = run("serve", JOBQUEUE_AUTH="jwt", JOBQUEUE_JWT_ISSUERS=str(path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"JOBQUEUE_JWT_ISSUERS: {path}")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_named():
    done = run("serve", JOBQUEUE_AUTH="jwt", JOBQUEUE_JWT_ISSUERS="nowhere.toml")
    assert done.returncode == 2
    assert done.stderr == "JOBQUEUE_JWT_ISSUERS: nowhere.toml can't be read: No such file or directory\n"


def test_what_a_table_leaves_out_is_that_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "issuers.toml"
    path.write_text(GOOD + GOOD.replace("company", "other").replace("id.", "login.") + 'claims = ["email"]\n')
    for name, value in {"AUTH": "jwt", "JWT_ISSUERS": str(path), "JWT_ALGORITHMS": "EdDSA"}.items():
        monkeypatch.setenv(f"JOBQUEUE_{name}", value)
    first, second = read_issuers(Settings.load())
    assert (first.name, first.claims, first.algorithms) == ("https://id.example.com", ("sub",), ("EdDSA",))
    assert (second.name, second.claims) == ("https://login.example.com", ("email",))


def test_the_file_of_the_page_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = (ROOT / "docs/start/identities.md").read_text()
    text = page.partition("```toml issuers.toml\n")[2].partition("```")[0]
    path = tmp_path / "issuers.toml"
    path.write_text(text)
    monkeypatch.setenv("JOBQUEUE_AUTH", "jwt")
    monkeypatch.setenv("JOBQUEUE_JWT_ISSUERS", str(path))
    assert [issuer.algorithms for issuer in read_issuers(Settings.load())] == [("ES256", "RS256"), ("RS256",)]
