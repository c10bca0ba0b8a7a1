"""Flask-Admin: a model with a ``FileUploadField``, which stores the file and its name."""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_admin.form import FileUploadField
from flask_sqlalchemy import SQLAlchemy


def make(folder: Path) -> Flask:
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "half a bee"
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///:memory:"
    db = SQLAlchemy(app)

    class File(db.Model):  # type: ignore[misc, name-defined]
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.Unicode(64))
        path = db.Column(db.Unicode(128))

    class FileView(ModelView):  # type: ignore[misc]
        form_overrides = {"path": FileUploadField}
        form_args = {"path": {"label": "File", "base_path": str(folder)}}

    admin = Admin(app, name="Files", url="/")
    admin.add_view(FileView(File, db, url="/file"))
    with app.app_context():
        db.create_all()
    return app
