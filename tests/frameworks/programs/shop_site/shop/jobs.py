"""As the README shows it."""

from jobqueue import JobContext
from jobqueue_django import handler

from .kinds import Receipt, send_receipt
from .models import Order


@handler(send_receipt, slots=4)
def deliver(receipt: Receipt, ctx: JobContext) -> str:
    order = Order.objects.get(pk=receipt.order)
    order.sent = True
    order.save()
    return f"receipt for {order.email}"
