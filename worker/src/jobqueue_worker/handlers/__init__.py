"""The built-in handlers: `builtin(settings)` makes one for each of the four kinds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from .context import Context, Handler, Job

if TYPE_CHECKING:
    from ..settings import WorkerSettings

__all__ = ["Builtin", "Context", "Handler", "Job", "builtin"]


class Builtin(dict[str, Handler]):
    """Handlers by kind, and what they hold open in common: connections and processes."""

    def __init__(
        self, handlers: Mapping[str, Handler], closers: tuple[Callable[[], Awaitable[None]], ...]
    ) -> None:
        super().__init__(handlers)
        self._closers = closers

    async def close(self) -> None:
        """Closes connections and ends processes; to be called once no handler runs any more."""
        for close in self._closers:
            await close()


def builtin(settings: WorkerSettings) -> Builtin:
    """Handlers for `send_email`, `resize_image`, `summarize_text` and `webhook_delivery`.

    All four are async functions. `resize_image` and `summarize_text` do their computing in spawned processes that
    they share, and so may run beside the worker's heartbeats like the others.

    Raises:
        ValueError: A setting that cannot be used; names it.
    """
    # Here and not above: the spawned processes import this package, and need none of the network code.
    from .address_policy import AddressPolicy
    from .cpu import CpuPool
    from .image_source import WebSource
    from .outbound import Outbound
    from .resize_image import ImageHandler
    from .send_email import EmailHandler
    from .summarize_text import SummaryHandler
    from .webhook_delivery import WebhookHandler

    cpu = CpuPool(settings.cpu_processes)
    webhooks = Outbound(AddressPolicy(settings.webhook_allow, setting="webhook_allow"))
    images = Outbound(AddressPolicy(settings.image_allow, setting="image_allow"))
    handlers: dict[str, Handler] = {
        "send_email": EmailHandler(
            host=settings.smtp_host,
            port=settings.smtp_port,
            tls=settings.smtp_tls,
            sender=settings.smtp_from,
            timeout=settings.smtp_timeout,
            user=settings.smtp_user,
            password=settings.smtp_password,
        ),
        "resize_image": ImageHandler(
            WebSource(
                images,
                timeout=settings.image_timeout,
                max_bytes=settings.image_max_bytes,
                allow_http=settings.image_allow_http,
            ),
            cpu,
            max_pixels=settings.image_max_pixels,
            max_bytes=settings.image_max_bytes,
            files=settings.files_dir,
        ),
        "summarize_text": SummaryHandler(cpu),
        "webhook_delivery": WebhookHandler(
            webhooks,
            timeout=settings.webhook_timeout,
            secret=settings.webhook_secret,
            secrets=settings.webhook_secrets,
        ),
    }
    return Builtin(handlers, (webhooks.close, images.close, cpu.close))
