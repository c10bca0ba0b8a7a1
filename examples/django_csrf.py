"""A Django application with its CSRF check and its login, which decides who may upload.

    oss-wsgi serve --app django_csrf:application --reload

Log in as eric with the password wonderland, and choose a file: it goes to a local OSS until OSS_BUCKET is set. OSS's
reports never reach Django's CSRF check, because DirectUpload is around Django: no view needs an exemption.
"""

import os

from django.conf import settings
from django.contrib.auth import authenticate, get_user_model, login
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path

from oss_wsgi import DirectUpload, Grant, Settings
from oss_wsgi.django import user_of

database = {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("APP_DATABASE") or "app.sqlite3"}
settings.configure(
    SECRET_KEY=os.environ.get("APP_SECRET") or "only for trying it out",
    ALLOWED_HOSTS=(os.environ.get("APP_HOSTS") or "localhost,127.0.0.1").split(","),
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": database},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
legacy = get_wsgi_application()

PAGE = """<!doctype html><title>Guest book</title>
{% if user.is_authenticated %}
  <p>Hello {{ user }}.</p>
  <input type="file" id="file" data-oss-upload>
  <output for="file"></output>
  <script type="module" src="/oss/upload.js"></script>
{% else %}
  <form method="post" action="/login">{% csrf_token %}<input name="user"><input name="password" type="password">
  <button>Log in</button></form>
{% endif %}
<ul>{% for name, size in uploads %}<li>{{ name }}, {{ size }} bytes{% endfor %}</ul>"""
UPLOADS = []


def page(request):
    return HttpResponse(engines["django"].from_string(PAGE).render({"user": request.user, "uploads": UPLOADS}, request))


def log_in(request):
    user = authenticate(request, username=request.POST.get("user"), password=request.POST.get("password"))
    if user is not None:
        login(request, user)
    return redirect("/")


urlpatterns = [path("", page), path("login", log_in)]


def authorize(request):  # whom does Django's own session know?
    user = user_of(request)
    return Grant(user=str(user.pk), dir=f"users/{user.get_username()}/") if user.is_authenticated else None


def save(upload):  # OSS stored a file, and the report is verified
    UPLOADS.append((upload.object, upload.size))
    return {"name": upload.object}


call_command("migrate", verbosity=0)
if not get_user_model().objects.filter(username="eric").exists():
    get_user_model().objects.create_user("eric", password=os.environ.get("APP_PASSWORD") or "wonderland")

application = DirectUpload(legacy, Settings.from_environ(os.environ), authorize=authorize, on_upload=save)
