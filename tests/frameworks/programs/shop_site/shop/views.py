"""As the README shows it."""

from django.db import transaction
from django.http import HttpRequest, JsonResponse

from jobqueue_django import enqueue_on_commit

from .kinds import Receipt, send_receipt
from .models import Order


@transaction.atomic
def place(request: HttpRequest) -> JsonResponse:
    order = Order.objects.create(email=request.POST["email"])
    enqueue_on_commit(send_receipt, Receipt(order.pk), idempotency_key=f"receipt-{order.pk}")
    return JsonResponse({"order": order.pk}, status=202)
