"""Resizes an image held in memory: pure work for a process of its own, without files or network."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps, UnidentifiedImageError

# Formats of the web. Pillow reads dozens more, whose decoders hardly anybody needs and few people test.
SOURCE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

Fit = Literal["contain", "cover", "exact"]
Format = Literal["jpeg", "png", "webp"]
EXTENSIONS: dict[str, str] = {"jpeg": "jpg", "png": "png", "webp": "webp"}


class ImageRefused(ValueError):
    """The image cannot be resized, now or later. The text says why."""


@dataclass(frozen=True, slots=True)
class Resize:
    """What to make of an image.

    Attributes:
        width, height: The box in pixels, each at least 1.
        fit: contain keeps the proportions and fits inside the box; cover keeps them, fills the box and cuts off what
            stands out, evenly; exact stretches.
        format: None keeps the source's format where it is one of these, else makes png.
        quality: 1 to 100, for jpeg and webp.
        max_pixels: Most pixels that the source may have, and the result.
    """

    width: int
    height: int
    fit: Fit
    format: Format | None
    quality: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Resized:
    """The encoded result."""

    data: bytes
    width: int
    height: int
    format: Format


def resize(source: bytes, wanted: Resize) -> Resized:
    """Decodes, turns upright, resizes and encodes. Of an animation it takes the first frame.

    Raises:
        ImageRefused: No image of a known format, damaged, or too many pixels.
    """
    # The file says how large it is before anything is decoded: a bomb is refused while it is still small.
    # Pillow's own limit (which only warns below the double) is for decoders that meet a larger frame inside.
    Image.MAX_IMAGE_PIXELS = wanted.max_pixels
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(source), formats=SOURCE_FORMATS) as image,
        ):
            _check_pixels("the source", *image.size, wanted.max_pixels)
            image_format = wanted.format or _own_format(image.format)
            # Before the source is decoded, which is what costs.
            _check_pixels("the result", *target_size(_upright_size(image), wanted), wanted.max_pixels)
            profile = image.info.get("icc_profile")
            upright = ImageOps.exif_transpose(image)
    except ImageRefused:
        raise
    except UnidentifiedImageError:
        raise ImageRefused(
            f"the source is not an image in one of the formats {', '.join(SOURCE_FORMATS)}"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefused(f"the source is too large: {error}") from None
    except MemoryError:
        raise
    except Exception as error:
        # Decoders meet hostile bytes with whatever they happen to raise: struct.error, zlib.error, KeyError.
        raise ImageRefused(f"the source is damaged: {str(error) or type(error).__name__}") from None
    result = _fit(_plain_colours(upright, image_format), wanted)
    # A profile describes the channels that it was made for: one for CMYK is wrong for RGB.
    keep_profile = profile if upright.mode in ("RGB", "RGBA") else None
    return Resized(_encode(result, image_format, wanted.quality, keep_profile), *result.size, image_format)


def target_size(source: tuple[int, int], wanted: Resize) -> tuple[int, int]:
    """The result's width and height for an upright source of this size."""
    if wanted.fit != "contain":
        return wanted.width, wanted.height
    scale = min(wanted.width / source[0], wanted.height / source[1])
    # At least a pixel: 10,000 x 1 inside 100 x 100 is no line at all otherwise.
    return (
        min(wanted.width, max(1, round(source[0] * scale))),
        min(wanted.height, max(1, round(source[1] * scale))),
    )


def _check_pixels(what: str, width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise ImageRefused(
            f"{what} has {width} x {height} pixels, more than the {limit:,} that this worker takes"
        )


def _upright_size(image: Image.Image) -> tuple[int, int]:
    sideways = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if sideways else image.size


def _own_format(name: str | None) -> Format:
    kept: dict[str | None, Format] = {"JPEG": "jpeg", "WEBP": "webp"}
    return kept.get(name, "png")


def _plain_colours(image: Image.Image, image_format: Format) -> Image.Image:
    """In a mode that can be interpolated and that the format can store."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image_format == "jpeg":
            # JPEG has no transparency; white is what a page would have shown through.
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return image
    if image.mode.startswith("I"):
        # 16 bits of grey; convert() would clip them to white instead of scaling.
        return image.convert("I").point(lambda value: value / 256).convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _fit(image: Image.Image, wanted: Resize) -> Image.Image:
    size = target_size(image.size, wanted)
    if wanted.fit == "cover":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _encode(image: Image.Image, image_format: Format, quality: int, profile: bytes | None) -> bytes:
    out = io.BytesIO()
    options: dict[str, object] = {} if image_format == "png" else {"quality": quality}
    image.save(out, image_format.upper(), icc_profile=profile, **options)
    return out.getvalue()
