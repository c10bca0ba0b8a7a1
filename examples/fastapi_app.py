"""A FastAPI application whose session login decides who may upload, and whose database (async SQLAlchemy) hears of it.

    pip install 'oss-wsgi[asgi]' fastapi uvicorn itsdangerous 'sqlalchemy[asyncio]' aiosqlite
    export OSS_BUCKET=... OSS_REGION=... OSS_ACCESS_KEY_ID=... OSS_ACCESS_KEY_SECRET=... OSS_CALLBACK_URL=...
    uvicorn fastapi_app:app

Log in as eric with the password wonderland. With several workers set APP_SECRET, OSS_TICKET_SECRET and OSS_LEDGER.
"""

import contextlib
import hmac
import html
import os
import secrets
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable
from starlette.middleware.sessions import SessionMiddleware

from oss_wsgi import Grant, Settings
from oss_wsgi.asgi import DirectUpload

UPLOAD = """<input type="file" id="file" multiple data-oss-upload>
<output for="file"></output>
<script type="module" src="/oss/upload.js"></script>"""
LOGIN = '<form method="post" action="/login"><input name="user"><input name="password" type="password"><button>Log in'
PASSWORDS = {"eric": os.environ.get("APP_PASSWORD") or "wonderland"}
QUOTA = 1024 * 1024 * 1024  # bytes of a user

engine = create_async_engine(os.environ.get("APP_DATABASE") or "sqlite+aiosqlite:///photos.sqlite3")
Database = async_sessionmaker(engine)


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "photos"

    object: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str] = mapped_column(index=True)
    size: Mapped[int]


@contextlib.asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.execute(CreateTable(Photo.__table__, if_not_exists=True))
    yield
    await engine.dispose()


async def authorize(request):  # whom does Starlette's own session know, and is there room?
    user = request.environ["asgi.scope"]["session"].get("user")
    if user is None:
        return None
    async with Database() as database:
        used = await database.scalar(select(func.sum(Photo.size)).where(Photo.user == user)) or 0
    return Grant(user=user, dir=f"users/{user}/", max_size=QUOTA - used) if used < QUOTA else None


async def save(upload):  # OSS stored a file, and its report is verified
    async with Database.begin() as database:
        await database.merge(Photo(object=upload.object, user=upload.user, size=upload.size))
    return {"name": upload.object}


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key=os.environ.get("APP_SECRET") or secrets.token_hex())
app.mount("/oss", DirectUpload(Settings.from_environ(os.environ), authorize=authorize, on_upload=save))


@app.get("/", response_class=HTMLResponse)
async def page(request: Request):
    user = request.session.get("user")
    async with Database() as database:
        photos = await database.scalars(select(Photo).where(Photo.user == user).order_by(Photo.object))
        items = "".join(f"<li>{html.escape(photo.object)}, {photo.size} bytes" for photo in photos)
    body = f"<p>Hello {html.escape(user)}.</p>{UPLOAD}<ul>{items}</ul>" if user else LOGIN
    return f"<!doctype html><title>Photos</title>{body}"


@app.post("/login")
async def login(request: Request):
    form = dict(parse_qsl((await request.body()).decode()))
    user, password = form.get("user", ""), form.get("password", "")
    if user in PASSWORDS and hmac.compare_digest(PASSWORDS[user].encode(), password.encode()):
        request.session["user"] = user
    return RedirectResponse("/", 303)
