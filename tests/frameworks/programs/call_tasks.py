"""Calls tasks of the project, waits for them, and says what became of them."""

import asyncio
import json
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from shop_site.shop.models import Order  # noqa: E402
from shop_site.shop.more_tasks import add, add_later, sell, who  # noqa: E402
from shop_site.shop.tasks import remind  # noqa: E402

from jobqueue_django import client  # noqa: E402

call_command("check", fail_level="WARNING")
order = Order.objects.create(email="ada@example.org")
results: dict[str, Any] = {
    "add": add.using(priority=7).enqueue(1, b=2),
    "add_later": asyncio.run(add_later.aenqueue(3, 4)),
    "who": who.enqueue(),
    "sell": sell.enqueue(5),
    "remind": remind.enqueue(order.pk),
}
said: dict[str, Any] = {}
for name, result in results.items():
    client().wait(result.id)
    result.refresh()
    read = result.task.get_result(result.id)
    assert read == result, (read, result)
    said[name] = {
        "id": result.id,
        "status": result.status,
        "value": result.return_value if result.status == "SUCCESSFUL" else None,
        "errors": [each.exception_class_path for each in result.errors],
        "priority": result.task.priority,
    }
print("said:", json.dumps({"django": django.VERSION[0], **said}))
