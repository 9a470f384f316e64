"""Generates the Rust client's stubs, `v1.rs` and `longrunning.rs` in `clients/rust/src`, from `proto/`.

Needs cargo and buf.

    python -m tools.rust_stubs          write them
    python -m tools.rust_stubs --check  write nothing; fail if something would change

Where there is no cargo both say so and do nothing: whoever changes a .proto file needs it, nobody else does. What
writes them is `clients/rust/stubs`, around tonic-prost-build; users of the crate need neither it nor protoc.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.cargo import CRATE, cargo
from tools.generate import PROTO, ROOT, lay_out_googleapis, run

#: By their names in the crate: the packages.
STUBS = {"v1.rs": "jobqueue.v1", "longrunning.rs": "google.longrunning"}


def stubs() -> dict[Path, str]:
    """The stubs of all of `proto/`, and of google.longrunning: one package, one file."""
    lay_out_googleapis()
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "descriptors.binpb"
        run(Path(sys.executable).parent / "buf", "build", str(PROTO), "--output", str(descriptors))
        # With the features of the workspace, so that nothing is compiled a second time for it; `cargo run` takes those
        # of a package alone.
        build = cargo("build", "--quiet", "--workspace", "--bin", "stubs")
        # There, for its .cargo/config.toml.
        for command in (build, [str(ROOT / ".cache/rust/debug/stubs"), str(descriptors), folder]):
            if code := subprocess.run(command, cwd=CRATE).returncode:
                sys.exit(code)
        return {
            CRATE / "src" / name: (Path(folder) / f"{package}.rs").read_text()
            for name, package in STUBS.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    arguments = parser.parse_args()
    if shutil.which("cargo") is None:
        print(
            "rust_stubs: cargo is not on PATH: the Rust client's stubs are left as they are", file=sys.stderr
        )
        return
    wanted = stubs()
    for path, text in wanted.items():
        if path.exists() and path.read_text() == text:
            continue
        if arguments.check:
            sys.exit(f"rust_stubs: {path.relative_to(ROOT)} is not what proto/ makes: run `make generate`")
        path.write_text(text)


if __name__ == "__main__":
    main()
