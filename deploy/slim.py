"""Takes out of a virtual environment what no program of an image needs: `slim.py FOLDER`, while the image is built.

- what debuggers read of compiled modules: half of uvloop and of asyncpg;
- sources of compiled modules, types for checkers, and tests;
- what cffi compiles with: cryptography brings its module compiled, and asks for no more than cffi's own;
- the first version of pydantic, which the second carries along, its plugin for mypy, and the old interfaces of grpc;
- h11, which uvicorn would parse HTTP with if httptools were not there;
- lists of installed files, which pip reads, and no pip is there;
- the indents of the OpenAPI documents;
- the lexers, formatters and styles of pygments, by which rich would colour programs: no text of ours has one.
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCES = {".c", ".h", ".proto", ".pxd", ".pxi", ".pyi", ".pyx"}
TESTS = {"_testbase", "tests"}
FOLDERS = ("cffi", "h11", "pycparser", "pydantic/v1", "grpc/beta", "grpc/framework")
FILES = ("*.dist-info/RECORD", "pydantic/mypy.py", "pydantic/__pycache__/mypy.*")
DOCUMENTS = "jobqueue_server/http/openapi/*.json"
#: rich asks for the lexer of plain text, and for these styles.
OF_PYGMENTS = {
    "lexers": {"__init__", "_mapping", "special"},
    "formatters": {"__init__", "_mapping"},
    "styles": {"__init__", "_mapping", "default", "monokai"},
}
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")


def main(folder: Path) -> None:
    """Says what it has taken, in MB."""
    before = size(folder)
    for path in needless(folder):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in folder.rglob("*.so"):
        if not path.is_symlink():
            cut(path)
    for path in folder.glob(f"lib/python*/site-packages/{DOCUMENTS}"):
        # A space after each colon: by such lines the server finds the place that it fills in.
        path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ": "), ensure_ascii=False))
    print(f"slim: {before / 1e6:.0f} MB, now {size(folder) / 1e6:.0f} MB")


def needless(folder: Path) -> Iterator[Path]:
    """Files and folders to take out."""
    for packages in list(folder.glob("lib/python*/site-packages")):
        for path in list(packages.rglob("*")):
            # That of KEDA is in the server with its licence.
            ours = path.suffix == ".proto" and path.relative_to(packages).parts[0].startswith("jobqueue")
            if not ours and (path.suffix in SOURCES or (path.is_dir() and path.name in TESTS)):
                yield path
        yield from (packages / name for name in FOLDERS if (packages / name).exists())
        yield from (path for pattern in FILES for path in packages.glob(pattern))
        for part, kept in OF_PYGMENTS.items():
            for path in packages.glob(f"pygments/{part}/**/*.py*"):
                if path.name.partition(".")[0] not in kept:
                    yield path


def cut(path: Path) -> None:
    """Ends a library where the last part of it that is loaded ends. What lies behind is for debuggers and linkers."""
    data = bytearray(path.read_bytes())
    # 64 bits, little-endian: what the images are built for.
    if data[:6] != b"\x7fELF\x02\x01":
        return
    (headers,) = struct.unpack_from("<Q", data, 32)
    (each, count) = struct.unpack_from("<HH", data, 54)
    segments = [_PROGRAM_HEADER.unpack_from(data, headers + number * each) for number in range(count)]
    end = max(offset + length for _, _, offset, _, _, length, _, _ in segments)
    # No table of sections: the loader reads segments alone.
    struct.pack_into("<Q", data, 40, 0)
    struct.pack_into("<HHH", data, 58, 0, 0, 0)
    path.write_bytes(data[:end])


def size(folder: Path) -> int:
    """Of all files, in bytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
