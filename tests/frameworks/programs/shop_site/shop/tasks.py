"""As the README shows it."""

from django_tasks import task  # in Django 6: from django.tasks import task

from .models import Order


@task(queue_name="mail", priority=10)
def remind(order: int) -> str:
    return f"reminder for {Order.objects.get(pk=order).email}"
