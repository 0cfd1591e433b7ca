"""Django in one file: an order and its confirmation are one transaction.

PACELINE_DATABASE_URL=sqlite:///shop.db PACELINE_BROKER_URL=redis://… python -m examples.django_app runserver

With DATABASE_ENGINE=django.db.backends.postgresql, Django finds its database by libpq's own PGHOST, PGUSER, PGPASSWORD.
"""

import os
import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connection, models, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from paceline import Client, InvalidMessage, Text

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": {
            "ENGINE": os.environ.get("DATABASE_ENGINE", "django.db.backends.sqlite3"),
            "NAME": os.environ.get("DATABASE_NAME", "shop.db"),
        }
    },
)
django.setup()
client = Client()


class Order(models.Model):
    """A table of the shop's own, beside Paceline's."""

    customer = models.CharField(max_length=128)
    item = models.CharField(max_length=128)

    class Meta:
        app_label = "shop"


@require_POST
def place(request: HttpRequest) -> JsonResponse:
    """Both are stored, or neither; the workers hear of the message when both are."""
    try:
        with transaction.atomic():
            order = Order.objects.create(customer=request.POST["customer"], item=request.POST["item"])
            receipt = client.enqueue(
                Text(to=order.customer, text=f"Thank you for ordering {order.item}!"),
                via="aurogy-main",
                idempotency_key=f"order-{order.pk}-confirmed",
                session=connection,
            )
    except InvalidMessage as error:
        return JsonResponse({"detail": str(error)}, status=422)
    return JsonResponse({"order": order.pk, "message": receipt.id}, status=201)


urlpatterns = [path("orders", place)]

if __name__ == "__main__":
    if "shop_order" not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Order)
    execute_from_command_line(sys.argv)
