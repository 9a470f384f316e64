"""The dashboard's modules as one file: comments and blanks go, and nothing else does."""

from __future__ import annotations

from graphlib import CycleError
from pathlib import Path

import pytest

from jobqueue_server.http import ui
from jobqueue_server.http.ui_modules import joined, stripped

pytestmark = pytest.mark.unit

APP = Path(ui.__file__).parent / "ui"


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        # Comments, of a line and of several.
        ("let a = 1; // one\nlet b = 2;", "let a=1;\nlet b=2;\n"),
        ("/** A type.\n * @type {x} */\nlet a = /* here */ 1;", "let a=1;\n"),
        # A line stays one: some statements end by it.
        ("return\n\n   // nothing\n\n  value", "return\nvalue\n"),
        ("a /* over\n two */ b", "a\nb\n"),
        # Blanks that keep words and signs from becoming others.
        ("const a = typeof b in c;", "const a=typeof b in c;\n"),
        ("a + +b - -c; a + ++b", "a+ +b- -c;a+ ++b\n"),
        ("return { async *items() {} };", "return{async*items(){}};\n"),
        # What looks like a comment in a string is none.
        ('const a = "http://x /* y */";  // z', 'const a="http://x /* y */";\n'),
        ("const a = 'it\\'s  // \"so\"';", "const a='it\\'s  // \"so\"';\n"),
        # Regular expressions: with slashes, quotes and braces in them; and divisions.
        (r"const a = /\/\* ['\"`{] /y;", "const a=/\\/\\* ['\\\"`{] /y;\n"),
        (r"x.replace(/[/\]'] /g, '')", "x.replace(/[/\\]'] /g,'')\n"),
        ("const half = (a + b) / 2 / c; // d", "const half=(a+b)/2/c;\n"),
        ("a = b[0] / c / d", "a=b[0]/c/d\n"),
        ("return / a /.test(b)", "return/ a /.test(b)\n"),
        ("list.filter((each) => / a/.test(each))", "list.filter((each)=>/ a/.test(each))\n"),
        # Templates: of text they stay, also what looks like a comment; of HTML, ends of lines lose their blanks.
        ("`one  // two\n   three ${ b + `  ${c}\n  ` } /* */`;", "`one  // two\n   three ${b+`  ${c}\n  `} /* */`;\n"),
        ("html`<p>\n    a  b  // c\n  ${ d({ e }) }\n  </p>`", "html`<p>\na  b  // c\n${d({e})}\n</p>`\n"),
        ("html`<b title=${`a\n  b`}>\n   c</b>`", "html`<b title=${`a\n  b`}>\nc</b>`\n"),
        (r"const a = `\`  \${  $ x`;", "const a=`\\`  \\${  $ x`;\n"),
        ("const a = `${ { b: '}' }['b'] }` / 2;", "const a=`${{b:'}'}['b']}`/2;\n"),
    ],
)  # fmt: skip
def test_what_a_script_says_stays_and_comments_and_blanks_go(script: str, wanted: str):
    assert stripped(script) == wanted
    assert stripped(wanted) == wanted


@pytest.mark.parametrize("script", ["const a = 'open", "`open ${a", "a = {", "= /open"])
def test_a_script_that_is_not_understood_is_not_served(script: str):
    with pytest.raises((ValueError, IndexError)):
        stripped(script)


def test_modules_that_import_each_other_in_a_circle_are_refused():
    with pytest.raises(CycleError):
        joined({"app/a.js": 'import { b } from "./b.js";\n', "app/b.js": 'import { a } from "./a.js";\n'})


@pytest.mark.parametrize(
    "line",
    ['import * as b from "./b.js";', 'import "./b.js";', 'import a, { b } from "./b.js";', "export let a = 1;",
     'export { a } from "./b.js";', 'export * from "./b.js";', "export default 1;"],
)  # fmt: skip
def test_a_way_to_import_or_export_that_is_not_known_is_refused_and_not_passed_over(line: str):
    with pytest.raises(ValueError, match=r"app/a\.js: what is"):
        joined({"app/a.js": f"const a = 1;\n{line}\n", "app/b.js": "export const b = 1;\n"})


def test_the_page_says_nothing_of_its_makers_in_comments():
    served = joined({
        str(path.relative_to(APP)): path.read_text() for path in APP.glob("app/**/*.js") if path.name != "theme.js"
    })  # fmt: skip
    assert "@param" not in served
