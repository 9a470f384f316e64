"""The page's modules have types, in comments. tsc holds them, since there is no build step that would."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conformance.languages import languages

# The first run of all fetches what the TypeScript client's package-lock.json names.
pytestmark = [pytest.mark.language("typescript"), pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
TSC = ROOT / "clients/typescript/node_modules/.bin/tsc"


def tsc(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TSC, "--project", project], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """The TypeScript client brings tsc."""
    if not TSC.exists():
        trouble = languages()["typescript"].make()
        assert not trouble, trouble


def test_the_page_is_typed_to_the_strictest_that_tsc_knows():
    done = tsc(ROOT / "tools/ui/tsconfig.json")
    assert done.returncode == 0, done.stdout


def test_what_is_wrong_in_a_module_is_found(tmp_path: Path):
    app = ROOT / "server/src/jobqueue_server/http/ui/app"
    (tmp_path / "wrong.js").write_text(f'import {{ count }} from "{app}/format.js";\ncount({{}}, 1);\n')
    settings = f'{{"extends": "{ROOT}/tools/ui/tsconfig.json", "include": ["{tmp_path}/wrong.js"]}}'
    (tmp_path / "tsconfig.json").write_text(settings)
    done = tsc(tmp_path / "tsconfig.json")
    assert "wrong.js(2,7): error TS2345" in done.stdout, done.stdout
