"""Flask-WTF, with a ``FileField``, its validators and its CSRF token."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, render_template_string
from flask_wtf import FlaskForm
from flask_wtf.file import FileAllowed, FileField, FileRequired, FileSize
from werkzeug.utils import secure_filename
from wtforms import StringField
from wtforms.validators import DataRequired

PAGE = """<!doctype html>
<title>Upload</title>
<form method="POST" enctype="multipart/form-data">
  {{ form.hidden_tag() }}
  {{ form.title.label }} {{ form.title }}
  {{ form.photo.label }} {{ form.photo }}
  {% for messages in form.errors.values() %}{% for message in messages %}<p>{{ message }}</p>{% endfor %}{% endfor %}
  <input type="submit" value="Upload">
</form>
"""


class PhotoForm(FlaskForm):  # type: ignore[misc]
    title = StringField("Title", validators=[DataRequired()])
    photo = FileField(
        validators=[
            FileRequired(),
            FileAllowed(["png", "txt", "bin"], "Images and texts only"),
            FileSize(max_size=100 << 20, min_size=0),
        ]
    )


def make(folder: Path) -> Flask:
    app = Flask(__name__)
    app.secret_key = "half a bee"

    @app.route("/", methods=["GET", "POST"])
    def upload() -> str:
        form = PhotoForm()
        if not form.validate_on_submit():
            return render_template_string(PAGE, form=form)
        file = form.photo.data
        file.save(folder / secure_filename(file.filename))
        return f"{form.title.data}: {file.filename!r}, {file.content_type!r}"

    return app
