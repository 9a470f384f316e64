"""A project with one app on SQLite."""

import os

import django

SECRET_KEY = "of a test"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["shop_site.shop", "jobqueue_django"]
if django.VERSION < (6,):
    INSTALLED_APPS.append("django_tasks")
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SHOP_DATABASE", ":memory:")}
}
ROOT_URLCONF = "shop_site.urls"
ALLOWED_HOSTS = ["*"]
JOBQUEUE: dict[str, object] = {"CONCURRENCY": 4}
TASKS = {
    "default": {
        "BACKEND": "jobqueue_django.tasks.JobQueueBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"MODULES": ["shop_site.shop.more_tasks"]},
    }
}
