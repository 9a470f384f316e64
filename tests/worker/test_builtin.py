"""The four handlers as the worker builds them, each with the real thing at the other end."""

import asyncio
import base64
import io
import subprocess
import sys
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from jobqueue_worker.handlers import builtin
from jobqueue_worker.settings import WorkerSettings
from jobqueue_worker.sinks.smtp import SmtpSink
from jobqueue_worker.sinks.webhook import WebhookSink

SECRET = SecretStr("whsec_" + base64.b64encode(b"k" * 32).decode())


async def test_four_jobs_of_four_kinds_are_done(attempt, tmp_path):
    mails, hooks = SmtpSink(tmp_path / "mails"), WebhookSink(tmp_path / "hooks", secret=SECRET)
    await mails.start()
    await hooks.start()
    image = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(image, "PNG")
    (tmp_path / "green.png").write_bytes(image.getvalue())
    handlers = builtin(
        WorkerSettings(
            smtp_host="127.0.0.1",
            smtp_port=mails.port,
            files_dir=tmp_path,
            webhook_allow=[f"127.0.0.1:{hooks.port}"],
            webhook_secret=SECRET,
            cpu_processes=1,
        )
    )
    payloads: dict[str, dict[str, Any]] = {
        "send_email": {"to": "ada@example.org", "subject": "Hi", "body": "Hello"},
        "resize_image": {"source_url": "file:green.png", "width": 16, "height": 16, "output": "small.png"},
        "summarize_text": {"text": "The cat sat. The cat ran. It rained.", "max_words": 4},
        "webhook_delivery": {"url": hooks.url, "body": {"done": True}},
    }
    try:
        assert set(handlers) == set(payloads)
        outputs = await asyncio.gather(
            *(handlers[kind](attempt(kind, **payloads[kind])) for kind in payloads)
        )
        assert outputs[0]["accepted"] == ["ada@example.org"]
        assert (tmp_path / "output" / outputs[1]["file"]).exists()
        assert outputs[2]["words"] <= 4
        assert outputs[3]["status"] == 200
        assert mails.received.qsize() == hooks.received.qsize() == 1
    finally:
        await handlers.close()
        await mails.stop()
        await hooks.stop()


def test_a_process_for_images_loads_neither_network_code_nor_the_client():
    code = (
        "import sys, jobqueue_worker.handlers.images;"
        "print([m for m in ('aiohttp', 'grpc', 'pydantic', 'sumy', 'jobqueue') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"webhook_allow": ["nonsense"]}, "webhook_allow"),
        ({"image_allow": ["10.0.0.1/8"]}, "image_allow"),
        ({"webhook_secret": "not base64!"}, "webhook_secret"),
        ({"webhook_secrets": {"shop": "?"}}, r"webhook_secrets\[shop\]"),
        ({"smtp_from": "nobody"}, "smtp_from"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_at_start(change, named):
    with pytest.raises(ValueError, match=named):
        builtin(WorkerSettings(**change))
