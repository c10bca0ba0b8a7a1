"""A Django application with uploads to OSS that its own login allows and its own view receives.

    export OSS_BUCKET=... OSS_REGION=... OSS_ACCESS_KEY_ID=... OSS_ACCESS_KEY_SECRET=... OSS_CALLBACK_URL=...
    export APP_SECRET=... APP_PASSWORD=... APP_DATABASE=guestbook.sqlite3 APP_HOSTS=localhost,app.example.com
    waitress-serve examples.django_app:application

Log in as eric. DirectUpload stays outside the session, CSRF and login middleware for the callback, because the
callback's signature is its login. Only that view is csrf_exempt; every other view keeps its CSRF check. authorize reads
Django's own session. APP_HOSTS must include the host of OSS_CALLBACK_URL.
"""

import os
import secrets

from django.conf import settings
from django.contrib.auth import authenticate, get_user_model, login
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connection, models, transaction
from django.http import HttpResponse, HttpResponseForbidden, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from oss_wsgi import DirectUpload, Grant, Settings
from oss_wsgi.django import user_of

database = {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("APP_DATABASE") or "guestbook.sqlite3"}
# A transaction that starts with a read fails instead of waiting to write: lock first (Django 5.1 or later).
database |= {"ATOMIC_REQUESTS": True, "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20}}
settings.configure(
    SECRET_KEY=os.environ.get("APP_SECRET") or secrets.token_urlsafe(),
    ALLOWED_HOSTS=(os.environ.get("APP_HOSTS") or "localhost,127.0.0.1").split(","),
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",  # sets Content-Length
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": database},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
legacy = get_wsgi_application()


class Entry(models.Model):
    object = models.CharField(max_length=1023, primary_key=True)
    size = models.BigIntegerField()

    class Meta:
        app_label = "guestbook"


def book(request):
    lines = format_html_join("", "<li>{}, {} bytes", Entry.objects.order_by("object").values_list("object", "size"))
    return HttpResponse(format_html("<h1>Guest book</h1><ul>{}</ul>", lines))


def log_in(request):
    if request.method != "POST":
        field = format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', get_token(request))
        inputs = '<input name="user"><input name="password" type="password"><button>Log in</button>'
        return HttpResponse(f'<form method="post">{field}{inputs}</form>')
    user = authenticate(request, username=request.POST.get("user"), password=request.POST.get("password"))
    if user is None:
        return HttpResponseForbidden()
    login(request, user)
    return HttpResponseRedirect("/")


@csrf_exempt
@require_POST
def uploaded(request):
    upload = request.environ.get("oss_wsgi.upload")
    if upload is None:  # the request bypassed DirectUpload: nobody verified it
        return HttpResponseForbidden()
    Entry.objects.update_or_create(object=upload.object, defaults={"size": upload.size})
    return JsonResponse({"Status": "Ok", "name": upload.object})


urlpatterns = [path("", book), path("login", log_in), path("oss/callback", uploaded)]


def authorize(request):
    user = user_of(request)
    return Grant(user=str(user.pk), dir=f"users/{user.get_username()}/") if user.is_authenticated else None


with connection.constraint_checks_disabled(), transaction.atomic():  # one process at a time
    call_command("migrate", verbosity=0)
    if Entry._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Entry)
    if not get_user_model().objects.filter(username="eric").exists():
        get_user_model().objects.create_user("eric", password=os.environ.get("APP_PASSWORD"))
close_old_connections()

application = DirectUpload(legacy, Settings.from_environ(os.environ), authorize=authorize, forward_callback=True)
