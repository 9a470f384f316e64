import asyncio
import base64
import io
import os
import struct
import zlib
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from PIL import Image

from jobqueue import Cancelled, Discard, Retry
from jobqueue_worker.handlers.address_policy import AddressPolicy
from jobqueue_worker.handlers.image_source import WebSource
from jobqueue_worker.handlers.images import ImageRefused, Resize, resize
from jobqueue_worker.handlers.outbound import Outbound
from jobqueue_worker.handlers.resize_image import ImageHandler, write_result


def picture(width=80, height=40, image_format="PNG", mode="RGB", colour="red", **options):
    out = io.BytesIO()
    Image.new(mode, (width, height), colour).save(out, image_format, **options)
    return out.getvalue()


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def wanted(width=20, height=20, fit="contain", image_format=None, quality=85, max_pixels=1_000_000):
    return Resize(width, height, fit, image_format, quality, max_pixels)


def png_that_claims(width, height):
    """A PNG of a few bytes whose header promises a huge picture."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@asynccontextmanager
async def resizing(
    cpu, *allow, files=None, http=True, max_bytes=1 << 20, max_pixels=1_000_000, timeout=20.0, resolver=None
):
    outbound = Outbound(AddressPolicy(allow, setting="image_allow"), resolver=resolver)
    web = WebSource(outbound, timeout=timedelta(seconds=timeout), max_bytes=max_bytes, allow_http=http)
    try:
        yield ImageHandler(web, cpu, max_pixels=1_000_000, max_bytes=max_bytes, files=files)
    finally:
        await outbound.close()


class TestPixels:
    @pytest.mark.parametrize(
        ("fit", "size"), [("contain", (20, 10)), ("cover", (20, 20)), ("exact", (20, 20))]
    )
    @pytest.mark.parametrize("source", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
    def test_each_fit_gives_its_size_from_each_format(self, fit, size, source):
        result = resize(picture(image_format=source), wanted(fit=fit))
        assert (result.width, result.height) == size == opened(result.data).size
        assert result.format == {"JPEG": "jpeg", "WEBP": "webp"}.get(source, "png")

    @pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
    def test_each_mode_can_be_written_in_each_format(self, mode, image_format):
        data = picture(mode=mode, image_format="JPEG" if mode == "CMYK" else "PNG", colour=0)
        result = resize(data, wanted(image_format=image_format))
        assert opened(result.data).format == image_format.upper()

    def test_sixteen_bits_of_grey_are_scaled_and_not_clipped(self):
        data = picture(mode="I;16", colour=0x8000)
        assert opened(resize(data, wanted()).data).convert("L").getpixel((3, 3)) == pytest.approx(128, abs=1)

    def test_contain_enlarges_too_and_never_vanishes(self):
        assert opened(resize(picture(4, 2), wanted(20, 20)).data).size == (20, 10)
        assert opened(resize(picture(5000, 1), wanted(100, 100)).data).size == (100, 1)

    def test_cover_cuts_off_both_sides_evenly(self):
        source = Image.new("RGB", (60, 20), "white")
        source.paste((255, 0, 0), (20, 0, 40, 20))
        out = io.BytesIO()
        source.save(out, "PNG")
        result = opened(resize(out.getvalue(), wanted(20, 20, "cover")).data)
        assert result.getpixel((10, 10)) == (255, 0, 0)

    def test_a_photo_taken_sideways_is_turned_upright(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        result = opened(resize(picture(80, 40, "JPEG", exif=exif), wanted(20, 20)).data)
        assert result.size == (10, 20)
        assert result.getexif().get(0x0112, 1) == 1

    def test_what_is_transparent_stays_so_and_becomes_white_in_jpeg(self):
        data = picture(mode="RGBA", colour=(0, 0, 0, 0))
        assert opened(resize(data, wanted()).data).getpixel((3, 3))[3] == 0
        assert min(opened(resize(data, wanted(image_format="jpeg")).data).getpixel((3, 3))) > 250

    def test_an_animation_gives_its_first_frame(self):
        out = io.BytesIO()
        frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
        frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
        assert opened(resize(out.getvalue(), wanted()).data).convert("RGB").getpixel((3, 3)) == (255, 0, 0)

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"", "not an image"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
            (picture(image_format="TIFF"), "not an image"),
            (picture(image_format="ICO"), "not an image"),
            (picture(400, 400, "JPEG")[:-300], "damaged"),
            (picture(400, 400)[:80], "damaged"),
            (png_that_claims(30_000, 30_000), "exceeds limit of"),
            (png_that_claims(2**31 - 1, 2**31 - 1), "pixels|damaged"),
            (picture(1001, 1000), "too large"),
        ],
    )
    def test_what_is_no_image_damaged_or_a_bomb_is_refused(self, data, problem):
        with pytest.raises(ImageRefused, match=problem):
            resize(data, wanted())

    def test_a_result_that_is_too_large_is_refused(self):
        with pytest.raises(ImageRefused, match="the result has 1001 x 1000 pixels"):
            resize(picture(), wanted(1001, 1000, "exact"))
        assert resize(picture(), wanted(1001, 1000, "contain", max_pixels=501_000)).height == 500


async def test_a_web_image_comes_back_inline(attempt, http, cpu):
    http.body = picture()
    async with resizing(cpu, "127.0.0.1") as handler:
        ctx = attempt("resize_image", source_url=http.url + "cat", width=20, height=20.0, format="webp")
        output = await handler(ctx)
    image = opened(base64.b64decode(output.pop("data")))
    assert (image.size, image.format) == ((20, 10), "WEBP")
    assert output == {"width": 20, "height": 10, "format": "webp", "bytes": output["bytes"]}
    assert ctx.reported == [(0.4, "fetched")]


async def test_the_content_decides_and_not_what_the_server_calls_it(attempt, http, cpu):
    http.body, http.headers = picture(), {"Content-Type": "text/html"}
    async with resizing(cpu, "127.0.0.1") as handler:
        assert (await handler(attempt("resize_image", source_url=http.url, width=20, height=20)))[
            "format"
        ] == "png"
        http.body, http.headers = b"<html>", {"Content-Type": "image/png"}
        with pytest.raises(Discard, match="not an image"):
            await handler(attempt("resize_image", source_url=http.url, width=20, height=20))


async def test_a_file_in_the_folder_becomes_a_file_in_its_output_folder(attempt, tmp_path, cpu):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "my cat.jpg").write_bytes(picture(image_format="JPEG"))
    async with resizing(cpu, files=tmp_path) as handler:
        for url in (
            "file:sub/my%20cat.jpg",
            f"file://{tmp_path}/sub/my%20cat.jpg",
            f"file://localhost{tmp_path}/sub/my%20cat.jpg",
        ):
            ctx = attempt("resize_image", source_url=url, width=20, height=20)
            output = await handler(ctx)
            assert output["file"] == f"{ctx.job.id}.jpg"
            assert opened((tmp_path / "output" / output["file"]).read_bytes()).size == (20, 10)
        named = await handler(
            attempt("resize_image", source_url=url, width=20, height=20, output="small.jpg")
        )
        assert (tmp_path / "output" / named["file"]).exists()
        inline = await handler(attempt("resize_image", source_url=url, width=20, height=20, output="inline"))
        assert "data" in inline
    assert not list((tmp_path / "output").glob(".*"))


async def test_nothing_outside_the_folder_is_read(attempt, tmp_path, cpu):
    files, outside = tmp_path / "files", tmp_path / "outside"
    files.mkdir()
    outside.mkdir()
    (outside / "secret.png").write_bytes(picture())
    (files / "link.png").symlink_to(outside / "secret.png")
    (files / "folder").symlink_to(outside)
    (files / "loop").symlink_to("loop")
    (files / "directory").mkdir()
    os.mkfifo(files / "pipe")
    (tmp_path / "files-too").mkdir()
    (tmp_path / "files-too" / "x.png").write_bytes(picture())
    async with resizing(cpu, files=files) as handler:
        messages = set()
        for path in (
            *("../outside/secret.png", "link.png", "folder/secret.png", "%2e%2e/outside/secret.png", "loop"),
            *(f"//{tmp_path}/outside/secret.png", f"{outside}/secret.png", f"{tmp_path}/files-too/x.png"),
            *(
                "missing.png",
                "directory",
                "pipe",
                ".",
                "",
                "a%00b",
                "%ff",
                "x" * 5000,
                "/dev/zero",
                "link.png?x=1",
            ),
        ):
            with pytest.raises(Discard) as caught:
                await handler(attempt("resize_image", source_url=f"file:{path}", width=20, height=20))
            messages.add(str(caught.value).partition("'")[2].rpartition("'")[2])
        with pytest.raises(Discard, match="not the url of a local file"):
            await handler(attempt("resize_image", source_url="file://host/secret.png", width=20, height=20))
    assert len(messages) <= 2, messages


async def test_a_link_that_stays_inside_the_folder_is_followed(attempt, tmp_path, cpu):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "cat.png").write_bytes(picture())
    (tmp_path / "cat.png").symlink_to(tmp_path / "real" / "cat.png")
    root = tmp_path.parent / (tmp_path.name + "-link")
    root.symlink_to(tmp_path)
    async with resizing(cpu, files=root) as handler:
        await handler(attempt("resize_image", source_url="file:cat.png", width=20, height=20))


@pytest.mark.parametrize(
    "name", ["../up.png", "a/b.png", "/etc/x.png", ".hidden", "", "a\n", "a\x00b", "x" * 201]
)
async def test_results_are_never_written_outside_the_output_folder(attempt, tmp_path, cpu, name):
    (tmp_path / "cat.png").write_bytes(picture())
    async with resizing(cpu, files=tmp_path) as handler:
        with pytest.raises(Discard):
            await handler(
                attempt("resize_image", source_url="file:cat.png", width=20, height=20, output=name)
            )


def test_a_link_in_the_output_folder_is_replaced_and_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"gold")
    files = tmp_path / "files"
    (files / "output").mkdir(parents=True)
    (files / "output" / "x.png").symlink_to(precious)
    write_result(files, "x.png", b"new")
    assert precious.read_bytes() == b"gold"
    assert (files / "output" / "x.png").read_bytes() == b"new"


def test_an_output_folder_that_leads_elsewhere_is_refused(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "output").symlink_to(tmp_path)
    with pytest.raises(Discard, match="not through a link"):
        write_result(files, "x.png", b"new")


async def test_without_a_folder_no_file_is_read_or_written(attempt, http, cpu):
    http.body = picture()
    async with resizing(cpu, "127.0.0.1") as handler:
        with pytest.raises(Discard, match="reads no files"):
            await handler(attempt("resize_image", source_url="file:cat.png", width=20, height=20))
        with pytest.raises(Discard, match="writes no files"):
            await handler(attempt("resize_image", source_url=http.url, width=20, height=20, output="x.png"))


@pytest.mark.parametrize("honest", [True, False])
async def test_a_source_with_too_many_bytes_is_refused_while_it_is_read(attempt, http, cpu, honest):
    http.body = b"x" * 5001
    if not honest:
        http.chunked = True
    async with resizing(cpu, "127.0.0.1", max_bytes=5000) as handler:
        with pytest.raises(Discard, match="5,000 bytes"):
            await handler(attempt("resize_image", source_url=http.url, width=20, height=20))


async def test_a_file_with_too_many_bytes_is_refused(attempt, tmp_path, cpu):
    (tmp_path / "cat.png").write_bytes(b"x" * 5001)
    async with resizing(cpu, files=tmp_path, max_bytes=5000) as handler:
        with pytest.raises(Discard, match="5,000 bytes"):
            await handler(attempt("resize_image", source_url="file:cat.png", width=20, height=20))


async def test_a_result_too_large_for_the_output_is_refused_with_advice(attempt, http, cpu):
    noise = Image.frombytes("RGB", (600, 600), os.urandom(600 * 600 * 3))
    out = io.BytesIO()
    noise.save(out, "PNG")
    http.body = out.getvalue()
    async with resizing(cpu, "127.0.0.1", max_bytes=2 << 20) as handler:
        with pytest.raises(Discard, match=r"name a file in payload\.output"):
            await handler(attempt("resize_image", source_url=http.url, width=600, height=600, format="png"))


async def test_sources_inside_the_network_and_plain_http_are_refused(attempt, http, cpu, names):
    async with resizing(cpu, resolver=names(evil=["10.0.0.1"])) as handler:
        for url in (http.url, "http://169.254.169.254/latest", "http://evil.example/x"):
            with pytest.raises(Discard, match="image_allow="):
                await handler(attempt("resize_image", source_url=url, width=20, height=20))
    async with resizing(cpu, "127.0.0.1", http=False) as handler:
        for url in (http.url, "ftp://127.0.0.1/x", "data:image/png;base64,AAAA", "gopher://x"):
            with pytest.raises(Discard, match="taken from https urls"):
                await handler(attempt("resize_image", source_url=url, width=20, height=20))
    assert http.requests == []


@pytest.mark.parametrize("location", ["http://10.0.0.1/", "file:///etc/passwd", "data:image/png,x", "/loop"])
async def test_each_hop_of_a_redirect_is_checked(attempt, http, cpu, location):
    http.status, http.headers = 302, {"Location": location}
    async with resizing(cpu, "127.0.0.1") as handler:
        with pytest.raises(Discard):
            await handler(attempt("resize_image", source_url=http.url, width=20, height=20))
    assert len(http.requests) == (6 if location == "/loop" else 1)


@pytest.mark.parametrize(("status", "outcome"), [(404, Discard), (403, Discard), (429, Retry), (503, Retry)])
async def test_a_source_that_is_missing_ends_the_job_and_one_that_is_busy_does_not(
    attempt, http, cpu, status, outcome
):
    http.status = status
    async with resizing(cpu, "127.0.0.1") as handler:
        with pytest.raises(outcome, match=str(status)):
            await handler(attempt("resize_image", source_url=http.url, width=20, height=20))


async def test_a_source_that_hangs_is_left_at_the_timeout(attempt, http, cpu):
    http.hold = asyncio.Event()
    async with resizing(cpu, "127.0.0.1", timeout=0.2) as handler:
        with pytest.raises(Retry, match=r"0\.2 s"):
            await handler(attempt("resize_image", source_url=http.url, width=20, height=20))


@pytest.mark.parametrize(
    "change",
    [
        *({"width": wrong} for wrong in (0, 10_001, 1.5, "9", True, None)),
        *({"height": -1}, {"fit": "x"}, {"format": "bmp"}, {"quality": 0}),
        *({"source_url": wrong} for wrong in ("cat.png", 1)),
    ],
)
async def test_a_payload_that_does_not_fit_ends_the_job(attempt, cpu, change):
    async with resizing(cpu) as handler:
        with pytest.raises(Discard, match=f"payload.{next(iter(change))}"):
            await handler(
                attempt(
                    "resize_image", **{"source_url": "https://example.org/", "width": 1, "height": 1} | change
                )
            )


async def test_a_cancelled_job_fetches_nothing(attempt, http, cpu):
    async with resizing(cpu, "127.0.0.1") as handler:
        with pytest.raises(Cancelled):
            await handler(attempt("resize_image", cancelled=True, source_url=http.url, width=1, height=1))
    assert http.requests == []
