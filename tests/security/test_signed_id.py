"""Forms that bring a signed ID which their sender has no right to, or which nobody sealed."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest

from oss_wsgi import DirectUpload, Grant
from oss_wsgi.exceptions import SignedIDError
from oss_wsgi.testing import callback_body

from ..parts.site import Site as PartsSite
from .attacks import Site, changed, legacy, ticket_of

OTHER_SECRET = "another secret of 32 characters ."


def site(user: str | None = "eric", values: dict[str, Any] | None = None, **options: Any) -> Site:
    return Site(values, authorize=lambda request: Grant(user=user, dir=f"users/{user}/"), **options)


def signed_id_of(site: Site, **members: str | None) -> str:
    """Upload a file, and return the signed ID that its page gets."""
    body = changed(callback_body(site.sign(filename="a.png"), size=6), **members)
    return str(site.report(body).json["signed_id"])


def reason(site: Site, signed_id: object, **options: Any) -> str:
    """Return why a site refuses a signed ID; neither the error nor its context shows the text."""
    application: DirectUpload = site.app.app
    with pytest.raises(SignedIDError) as raised:
        application.find_upload(signed_id, **{"user": "eric", **options})  # type: ignore[arg-type]
    error = raised.value
    assert len(str(signed_id)) < 48 or str(signed_id) not in f"{error} {error!r} {error.args}"
    assert error.__cause__ is None and error.upload is None
    return error.reason


def test_every_changed_bit_is_detected() -> None:
    victim = site()
    raw = base64.urlsafe_b64decode(signed_id_of(victim))
    for position in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[position // 8] ^= 1 << position % 8
        assert reason(victim, base64.urlsafe_b64encode(bytes(forged)).decode()) == "signed_id_altered"


def test_two_signed_ids_do_not_make_a_third() -> None:
    victim = site()
    one, two = (base64.urlsafe_b64decode(signed_id_of(victim)) for _ in range(2))
    for cut in (14, 20, len(one) - 16):
        assert reason(victim, base64.urlsafe_b64encode(one[:cut] + two[cut:]).decode()) == "signed_id_altered"


def test_10_000_texts_at_random_prove_nothing() -> None:
    victim, chance = site(), random.Random(42)
    usual = signed_id_of(victim)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    odd = alphabet + "=+/.%\0\n é猫\ud800"
    for number in range(10_000):
        letters = odd if number % 5 == 0 else alphabet
        start = usual[: chance.choice((0, 6, 11, 27))]  # the secret's ID, the day and the nonce are no secrets
        text = start + "".join(chance.choices(letters, k=chance.choice((0, 1, 47, 48, 320 - len(start), 4001))))
        assert reason(victim, text) in ("signed_id_malformed", "signed_id_altered")


def test_tickets_receipts_and_the_ids_of_uploads_in_parts_are_no_signed_ids() -> None:
    victim = site()
    signed = victim.sign(filename="a.png")
    for text in (ticket_of(signed), signed["fields"]["x-oss-meta-oss-wsgi"]):
        assert reason(victim, text) == "signed_id_altered"
    parts = PartsSite()
    try:
        with pytest.raises(SignedIDError, match="signed_id_altered"):
            parts.application.find_upload(parts.begin().id, user=None)
    finally:
        parts.close()


def test_a_signed_id_is_no_ticket() -> None:
    victim = site()
    signed_id = signed_id_of(victim)
    victim.uploads.clear()
    answer = victim.report(changed(callback_body(victim.sign(filename="b.png"), size=6), ticket=signed_id))
    assert (answer.status_int, victim.uploads) == (403, [])


def test_another_users_signed_id_is_refused() -> None:
    eric, mallory, nobody = site("eric"), site("mallory"), site(None)
    for owner, user in (("eric", "mallory"), ("mallory", "eric"), (None, "eric"), ("eric", None)):
        owners = {"eric": eric, "mallory": mallory, None: nobody}[owner]
        assert reason(owners, signed_id_of(owners), user=user) == "signed_id_other_user"
    for likely in ("", "Eric", "eric ", "eric\0", "None"):
        assert reason(eric, signed_id_of(eric), user=likely) == "signed_id_other_user"
    assert reason(nobody, signed_id_of(nobody), user="None") == "signed_id_other_user"


def test_another_bucket_or_secret_is_refused() -> None:
    for values in ({"bucket": "otherbucket"}, {"ticket_secret": (OTHER_SECRET,)}):
        other = site(values=values)
        assert reason(site(), signed_id_of(other)) == "signed_id_altered"
        assert reason(other, signed_id_of(site())) == "signed_id_altered"


def test_the_name_of_an_object_proves_nothing() -> None:
    victim = site()
    signed_id_of(victim)
    stored = victim.uploads[0].object or ""
    for name in (stored, "users/eric/never-uploaded.png", "users/eric/../../etc", stored * 3):
        assert reason(victim, name) == "signed_id_malformed"


def test_what_the_browser_says_of_the_upload_is_not_in_it() -> None:
    victim = site()
    body = changed(callback_body(victim.sign(filename="a.png"), size=6), **{"x:user": "admin", "x:filename": "b.png"})
    upload = victim.app.app.find_upload(victim.report(body).json["signed_id"], user="eric")
    assert (upload.user, upload.filename, upload.custom, upload.members) == ("eric", "a.png", {}, {})


def test_it_cannot_be_replayed_after_it_has_expired() -> None:
    victim = site()
    signed_id = signed_id_of(victim)
    victim.clock.advance(86401)
    assert reason(victim, signed_id) == "signed_id_expired"


def test_a_report_that_is_refused_gives_nobody_a_signed_id() -> None:
    victim = site()
    body = callback_body(victim.sign(filename="a.png"), size=6)
    for refused in (changed(body, bucket="otherbucket"), changed(body, ticket="A" * 300), changed(body, filename="b")):
        answer = victim.report(refused)
        assert answer.status_int == 403
        assert b"signed_id" not in answer.body


def test_a_clients_header_cannot_replace_the_function() -> None:
    seen: list[Any] = []

    def view(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(environ["oss_wsgi.find_upload"])
        return legacy(environ, start_response)

    victim = site()
    application = DirectUpload(view, victim.app.app.settings)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "oss_wsgi.find_upload": print}
    list(application(environ, lambda *arguments: None))
    assert seen == [application.find_upload]
