"""The kind `resize_image`: fetches an image, resizes it, and leaves the result in a file or in the output."""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from jobqueue import Discard

from .context import Context
from .cpu import CpuPool
from .image_source import FolderSource, WebSource
from .images import EXTENSIONS, Fit, Format, ImageRefused, Resize, Resized, resize
from .payloads import Payload, Whole, read

INLINE = "inline"
OUTPUT_FOLDER = "output"
# The output of a job holds 1 MiB; this leaves room for the fields beside the data.
_MAX_INLINE_CHARACTERS = (1 << 20) - 1024


class ResizeImage(Payload):
    """The payload of `resize_image`."""

    source_url: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:")
    width: Whole = Field(ge=1, le=10_000)
    height: Whole = Field(ge=1, le=10_000)
    fit: Fit = "contain"
    format: Format | None = None
    quality: Whole = Field(default=85, ge=1, le=100)
    output: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._ -]{0,199}$")


class ImageHandler:
    """Resizes images, the pixels in a process of its own.

    Args:
        web: Source of https urls.
        cpu: Where the resizing runs.
        max_pixels: Most pixels of a source, and of a result.
        files: The operator's folder: `file:` urls read from it, results go to its subfolder `output`. None: no
            files are read or written.
        max_bytes: Largest source file.
    """

    def __init__(
        self, web: WebSource, cpu: CpuPool, *, max_pixels: int, max_bytes: int, files: Path | None = None
    ) -> None:
        self._web = web
        self._cpu = cpu
        self._max_pixels = max_pixels
        self._files = files
        self._folder = FolderSource(files, max_bytes=max_bytes) if files is not None else None

    async def __call__(self, ctx: Context) -> dict[str, Any]:
        """Resizes one image.

        Returns:
            `width`, `height`, `format`, `bytes`, and either `file`, the name in the output folder, or `data`, the
            image in base64.
        """
        payload = read(ResizeImage, ctx.job)
        target = payload.output or (INLINE if self._files is None else None)
        if target != INLINE and self._files is None:
            raise Discard(
                "payload.output: this worker writes no files (its operator sets files_dir); use inline"
            )
        ctx.raise_if_cancelled()
        source = await self._fetch(payload.source_url)
        await ctx.progress(0.4, "fetched")
        wanted = Resize(
            payload.width, payload.height, payload.fit, payload.format, payload.quality, self._max_pixels
        )
        try:
            image = await self._cpu.run(resize, source, wanted)
        except ImageRefused as error:
            raise Discard(str(error)) from None
        ctx.raise_if_cancelled()
        facts = {
            "width": image.width,
            "height": image.height,
            "format": image.format,
            "bytes": len(image.data),
        }
        if target == INLINE or self._files is None:
            return facts | {"data": _inline(image)}
        name = target or f"{ctx.job.id}.{EXTENSIONS[image.format]}"
        await asyncio.to_thread(write_result, self._files, name, image.data)
        return facts | {"file": name}

    async def _fetch(self, url: str) -> bytes:
        if urlsplit(url).scheme != "file":
            return await self._web.fetch(url)
        if self._folder is None:
            raise Discard("payload.source_url: this worker reads no files (its operator sets files_dir)")
        return await self._folder.fetch(url)


def write_result(files: Path, name: str, data: bytes) -> None:
    """Writes `data` as `name` into the output folder of `files`: whole or not at all, replacing an older one.

    Args:
        files: The operator's folder.
        data: The file's content.
        name: A plain file name, without a folder.

    Raises:
        Discard: The output folder leads out of `files`.
        OSError: The disk does not take it; a later try may be luckier.
    """
    folder = files.resolve(strict=True) / OUTPUT_FOLDER
    folder.mkdir(exist_ok=True)
    if folder.is_symlink() or Path(name).name != name:
        raise Discard(
            f"results are written only into the folder {OUTPUT_FOLDER!r} itself, not through a link"
        )
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            # mkstemp lets only this user read. The result is for every user who may read the folder.
            os.fchmod(descriptor, 0o644)
            file.flush()
            os.fsync(descriptor)
        # Replaces a link of that name, and does not follow it.
        os.replace(temporary, folder / name)
    except BaseException:
        os.unlink(temporary)
        raise


def _inline(image: Resized) -> str:
    data = base64.b64encode(image.data).decode("ascii")
    if len(data) > _MAX_INLINE_CHARACTERS:
        raise Discard(
            f"the result has {len(image.data):,} bytes, too many for a job's output; name a file in payload.output, "
            "or ask for fewer pixels, a lower quality, or jpeg or webp"
        )
    return data
