"""The modules of the dashboard: those that touch no page, by node's own runner, and what is served instead of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import jobqueue_server
from jobqueue_server.http.ui_modules import joined, stripped
from tests.conformance.languages import languages

pytestmark = pytest.mark.language("typescript")

MODULES = Path(__file__).parent / "modules"
APP = Path(jobqueue_server.__file__).parent / "http" / "ui" / "app"


@pytest.mark.parametrize("name", sorted(path.name for path in MODULES.glob("*.test.mjs")))
def test_the_modules_keep_what_their_tests_say(name: str, tmp_path: Path) -> None:
    shutil.copytree(APP, tmp_path / "app")
    shutil.copytree(MODULES, tmp_path / "modules")
    # Node takes a .js file for a module where a package says so; browsers need no such word.
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    ran = subprocess.run(
        ["node", "--test", str(tmp_path / "modules" / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def run(script: str, folder: Path) -> str:
    (folder / "app").mkdir()
    (folder / "theirs.mjs").write_text("export const theirs = 'theirs';\n")
    (folder / "app/all.mjs").write_text(script)
    done = subprocess.run(["node", folder / "app/all.mjs"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_modules_as_one_do_what_they_did_and_keep_their_names_to_themselves(tmp_path: Path):
    modules = {
        "app/a.js": 'import Page from "./pages/page.js";\nimport { name as other, list } from "./b.js";\n'
        "const name = 'a';\nconsole.log(name, other, list().join(), new Page().says());\n",
        "app/b.js": "/** B. */\nexport const name = 'b'; // b\nexport async function later() {}\n"
        "export function list() {\n  return [name, typeof later];\n}\n",
        "app/pages/page.js": 'import { theirs } from "../lib.js";\nimport {\n  name,\n} from "../b.js";\n'
        "const text = `\nimport nothing\nand export`;\n"
        "export default class Page {\n  says() {\n    return `${theirs} ${name} ${text.length}`;\n  }\n}\n",
        "app/lib.js": 'import { theirs } from "../theirs.mjs";\n\nexport { theirs };\n',
    }
    assert run(joined(modules), tmp_path) == "a b b,function theirs b 26\n"


@pytest.fixture(scope="module")
def typescript() -> Path:
    """The compiler, which the TypeScript client brings."""
    found = Path(__file__).resolve().parents[2] / "clients/typescript/node_modules/typescript"
    if not found.exists():
        trouble = languages()["typescript"].make()
        assert not trouble, trouble
    return found


# What the syntax tree of TypeScript has of each script: kinds of nodes, and the texts of leaves.
_TREES = """
const ts = require(process.argv[1]);
const ofTemplate = (node) =>
  ts.isTemplateExpression(node) || ts.isTemplateSpan(node) || ts.isTemplateLiteralToken(node);
const inHtml = (node) =>
  ts.isTaggedTemplateExpression(node) ? node.tag.text === "html" : ofTemplate(node) && inHtml(node.parent);
const tree = (text) => {
  const file = ts.createSourceFile("a.js", text, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  for (const wrong of file.parseDiagnostics) throw new Error(ts.flattenDiagnosticMessageText(wrong.messageText));
  const found = [];
  const walk = (node) => {
    const before = found.push(ts.SyntaxKind[node.kind]);
    ts.forEachChild(node, walk);
    if (found.length > before || !ts.isToken(node)) return;
    const leaf = text.slice(ts.skipTrivia(text, node.pos), node.end);
    found.push(ts.isTemplateLiteralToken(node) && inHtml(node) ? leaf.replace(/\\s*\\n\\s*/g, "\\n") : leaf);
  };
  walk(file);
  return found;
};
console.log(JSON.stringify(JSON.parse(require("fs").readFileSync(0, "utf8")).map(tree)));
"""


@pytest.mark.timeout(300)
def test_each_module_of_the_page_means_the_same_without_its_comments(typescript: Path):
    paths = sorted(APP.glob("**/*.js"))
    texts = [path.read_text() for path in paths]
    done = subprocess.run(
        ["node", "-e", _TREES, typescript],
        input=json.dumps([*texts, *map(stripped, texts)]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    trees = json.loads(done.stdout)
    assert len(trees[0]) > 100
    for path, written, served in zip(paths, trees, trees[len(texts) :], strict=False):
        assert served == written, path.name
