"""PasteDeploy serves what an .ini file says; problems are reported without its secrets."""

from __future__ import annotations

import base64
import importlib.metadata
import logging
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import webtest
from paste.deploy import loadapp

from oss_wsgi import paste_deploy
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.settings import TABLE
from oss_wsgi.testing import CallbackSigner

from .support.callbacks import new_report, post_callback, without_signed_id
from .support.running_server import REAL_BUCKET, clean_environ

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "paste.ini"
ENVIRON = REAL_BUCKET | {
    "OSS_CALLBACK_URL": "https://app.example.com/oss/callback",
    "OSS_TICKET_SECRET": "t" * 32,
}
BODY = b"filename=users%2Feric%2Fa.png&size=6&bucket=examplebucket"
KEYS = """
bucket = examplebucket
region = cn-hangzhou
access_key_id = env:OSS_ACCESS_KEY_ID
access_key_secret = env:OSS_ACCESS_KEY_SECRET
ticket_secret = env:OSS_TICKET_SECRET
"""
PAGE = f"[app:main]\nuse = egg:oss_wsgi{KEYS}"
FILTERED = f"""
[pipeline:main]
pipeline = filtered inner

[app:inner]
paste.app_factory = tests.test_paste_deploy:make_echo

[filter:filtered]
use = egg:oss_wsgi{KEYS}"""


def make_echo(global_conf: dict[str, str], **local_conf: str) -> Any:
    """Make an application whose response tells its arguments."""

    def echo(environ: Any, start_response: Any) -> list[bytes]:
        upload = environ.get("oss_wsgi.upload")
        parts = [local_conf.get("name", "echo"), environ["SCRIPT_NAME"], environ["PATH_INFO"]]
        parts += [environ.get("HTTP_AUTHORIZATION", ""), upload.object if upload else ""]
        body = "|".join(parts).encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return echo


def save(upload: Any) -> dict[str, Any]:
    return {"saved": upload.object}


def report() -> bytes:
    return new_report(ENVIRON["OSS_TICKET_SECRET"], key="users/eric/a.png", mime_type="image/png")


NOT_CALLABLE = "a text"


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith(("OSS_", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


class Ini:
    """Loads an .ini file made by a test, which trusts the callbacks of ``signer``."""

    def __init__(self, folder: Path) -> None:
        self.signer = CallbackSigner()
        self.file = folder / "test.ini"
        key = folder / "key.pem"
        key.write_text(self.signer.pem)
        self.trust = f"trusted_keys = {self.signer.url}={key}\n"

    def app(self, text: str, name: str | None = None) -> webtest.TestApp:
        self.file.write_text(text)
        return webtest.TestApp(loadapp(f"config:{self.file}", name=name))

    def example(self, name: str) -> webtest.TestApp:
        return self.app(EXAMPLE.read_text().replace("use = egg:oss_wsgi\n", f"use = egg:oss_wsgi\n{self.trust}"), name)

    def problems(self, text: str) -> tuple[str, ...]:
        with pytest.raises(SettingsError) as caught:
            self.app(text)
        return caught.value.problems

    def callback(
        self, client: webtest.TestApp, path: str, body: bytes | None = None, **options: Any
    ) -> webtest.TestResponse:
        body = report() if body is None else body
        return post_callback(client, body, self.signer, target=path, **options)


@pytest.fixture
def ini(tmp_path: Path) -> Ini:
    return Ini(tmp_path)


def test_the_example_serves_the_page_and_signs(ini: Ini) -> None:
    client = ini.example("main")
    assert 'data-server-url="oss/signature"' in client.get("/").text
    assert client.get("/upload.js").content_type == "text/javascript"
    form = client.get("/oss/signature?filename=a.png").json
    assert form["url"] == "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    assert form["fields"]["x-oss-signature"]
    assert client.get("/oss/signature?filename=a.png&size=104857601", expect_errors=True).status_int == 403
    assert client.get("/oss/signature?filename=a.txt&content_type=text/plain", expect_errors=True).status_int == 403


def test_the_example_accepts_only_a_signed_callback(ini: Ini) -> None:
    client = ini.example("main")
    assert without_signed_id(ini.callback(client, "/oss/callback").json) == {"Status": "Ok"}
    body = report()
    assert post_callback(client, body, CallbackSigner(), expect_errors=True).status_int == 403
    assert ini.callback(client, "/oss/callback", BODY, expect_errors=True).status_int == 403, "it has no ticket"


def test_the_example_passes_uploads_to_an_old_application(ini: Ini) -> None:
    from examples.paste_app import GUESTBOOK

    GUESTBOOK.clear()
    client = ini.example("guestbook")
    assert client.get("/oss/signature?filename=a.png", expect_errors=True).status_int == 403
    form = client.get("/oss/signature?filename=a.png", extra_environ={"REMOTE_USER": "eric"}).json
    assert form["fields"]["key"].startswith("users/eric/")
    assert without_signed_id(ini.callback(client, "/oss/callback").json) == {"Status": "Ok", "entries": 1}
    assert "users/eric/a.png, 6 bytes" in client.get("/").text


def test_the_example_serves_both_side_by_side(ini: Ini) -> None:
    client = ini.example("both")
    assert 'data-server-url="oss/signature"' in client.get("/page/").text
    assert client.get("/page/oss/signature?filename=a.png").json["method"] == "POST"
    assert without_signed_id(ini.callback(client, "/page/oss/callback").json) == {"Status": "Ok"}
    assert "<h1>Guest book</h1>" in client.get("/anything").text


@pytest.mark.servers
def test_pserve_serves_the_example(tmp_path: Path) -> None:
    copy = tmp_path / "paste.ini"
    copy.write_text(EXAMPLE.read_text().replace("127.0.0.1:8080", "127.0.0.1:0"))
    process = subprocess.Popen(
        [sys.executable, "-m", "pyramid.scripts.pserve", str(copy), "-n", "both"],
        cwd=ROOT, env=clean_environ(**ENVIRON), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    output = url = ""
    try:
        while not url:
            line = process.stdout.readline()
            assert line, output
            output += line
            url = line.partition(" waitress: Serving on ")[2].strip()
        with urllib.request.urlopen(f"{url}/page/") as page:
            assert b'data-server-url="oss/signature"' in page.read()
        with urllib.request.urlopen(f"{url}/") as page:
            assert b"<h1>Guest book</h1>" in page.read()
    finally:
        process.send_signal(signal.SIGINT)
        output += process.communicate(timeout=60)[0]
    assert REAL_BUCKET["OSS_ACCESS_KEY_SECRET"] not in output


def test_each_entry_point_is_a_factory_here() -> None:
    entry_points = {
        (point.group, point.name, point.value)
        for point in importlib.metadata.distribution("oss_wsgi").entry_points
        if point.group.startswith("paste.")
    }
    here = "oss_wsgi.paste_deploy"
    assert entry_points == {
        ("paste.app_factory", "main", f"{here}:page"),
        ("paste.filter_app_factory", "main", f"{here}:direct_upload"),
        ("paste.filter_app_factory", "callback_guard", f"{here}:callback_guard"),
        ("paste.filter_factory", "authorization_passthrough", f"{here}:authorization_passthrough"),
        ("paste.composite_factory", "dispatcher", f"{here}:dispatcher"),
    }
    assert all(callable(getattr(paste_deploy, value.partition(":")[2])) for _, _, value in entry_points)


def test_the_application_has_all_of_server_py_but_the_local_oss(ini: Ini) -> None:
    lines = "prefix = /up loads\nallow_anonymous = yes\non_upload = tests.test_paste_deploy:save\n"
    client = ini.app(PAGE + lines + ini.trust)
    assert 'data-server-url="up%20loads/signature"' in client.get("/").text
    assert client.get("/up%20loads/signature").json["method"] == "POST"
    assert client.get("/oss/signature", expect_errors=True).status_int == 404
    assert ini.callback(client, "/up%20loads/callback").json["saved"] == "users/eric/a.png"


def test_every_setting_is_a_key_read_like_its_variable(ini: Ini, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "access_key_id": "id", "access_key_secret": "hidden", "session_token": "token",
        "credentials_library": "off", "bucket": "examplebucket",
        "region": "cn-hangzhou", "endpoint": "oss-cn-hangzhou.aliyuncs.com", "host": "https://files.example.com/",
        "signature_version": "V1", "callback_url": "https://a.example.com/c;https://b.example.com/c",
        "report_by": "OSS",
        "callback_required": "off", "upload_dir": "", "upload_expires": "60", "upload_max_size": "10",
        "upload_content_types": "image/PNG, image/jpeg", "upload_names": "original", "name_shards": "on",
        "ticket_secret_file": "secrets",
        "ledger_keep": "30h", "receipts": "off", "signed_ids": "off", "recover": "on",
        "multipart": "on", "part_size": "102400",
        "ledger": "handled.sqlite3", "allow_anonymous": "YES", "allowed_origins": "https://app.example.com",
    }  # fmt: skip
    assert texts.keys() == {row.name for row in TABLE} - {"trusted_keys", "ticket_secret"}  # one of the two for secrets
    loaded: list[Any] = []
    monkeypatch.setattr(paste_deploy, "DirectUpload", lambda app, settings, **options: loaded.append(settings) or app)
    ini.app("[app:main]\nuse = egg:oss_wsgi\n" + "".join(f"{key} = {text}\n" for key, text in texts.items()))
    assert loaded == [paste_deploy.Settings.from_environ({f"OSS_{key.upper()}": text for key, text in texts.items()})]


def test_every_other_key_is_an_argument(ini: Ini, monkeypatch: pytest.MonkeyPatch) -> None:
    callables = ("authorize", "may_complete", "on_upload", "form_user", "confirm", "on_issued", "on_refused")
    loaded: list[Any] = []
    monkeypatch.setattr(paste_deploy, "DirectUpload", lambda app, settings, **options: loaded.append(options) or app)
    lines = [f"{name} = tests.test_paste_deploy:save" for name in callables]
    ini.app("\n".join([FILTERED, "prefix = /up", "forward_callback = on", "forms = Inject", *lines]))
    assert loaded == [{"prefix": "/up", "forward_callback": True, "forms": "inject", **dict.fromkeys(callables, save)}]


def test_forms_are_on_off_or_injected(ini: Ini) -> None:
    with pytest.raises(SettingsError, match=r"forms must be 'on', 'off' or 'inject', not 'sometimes'\."):
        ini.app(f"{FILTERED}\nforms = sometimes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("upload_names = OSS_BUCKET", "upload_names must be unique or original, not 'oss_bucket'."),
        ("upload_dir = OSS_BUCKET/../", "upload_dir: "),
        ("host = https://other.oss-cn-hangzhou.aliyuncs.com", "bucket is 'examplebucket', but host says 'other'"),
        ("trusted_keys = http://127.0.0.1/k=nowhere.pem", "trusted_keys: 'nowhere.pem' cannot be read"),
        ("bukcet = x", "bukcet is not a setting: did you mean bucket?"),
        ("prefx = /x", "prefx is not a setting: did you mean prefix?"),
        ("zzz = x", "zzz is not a setting, remove it."),
        ("OSS_UPLOAD_DIR = x/", "'OSS_UPLOAD_DIR' is the name of an environment variable: use the key upload_dir."),
        ("app = x", "app is not a setting"),
        ("forward_callback = on", "forward_callback is not a setting"),
        ("prefix = oss", "A prefix must be like '/uploads'"),
        ("authorize = nonsense", "authorize must be like package.module:callable, not 'nonsense'."),
        ("authorize = no.such:thing", "authorize must name what can be imported (ModuleNotFoundError: No module"),
        ("on_upload = tests.test_paste_deploy:NOT_CALLABLE", "on_upload must name what can be called, not 'tests."),
    ],
)
def test_a_problem_names_the_key_and_the_factory(ini: Ini, line: str, problem: str) -> None:
    (message,) = ini.problems(f"{PAGE}{line}\n")
    assert message.startswith(f"The application egg:oss_wsgi: {problem}")


def test_all_problems_are_reported_together(ini: Ini) -> None:
    problems = ini.problems(FILTERED + "bukcet = x\nsession_token = env:NOT_THERE\nforward_callback = maybe\n")
    assert [problem.removeprefix("The filter egg:oss_wsgi: ") for problem in problems] == [
        "bukcet is not a setting: did you mean bucket?",
        "session_token is read from the environment variable 'NOT_THERE', which is not set: set it.",
        "forward_callback must be 'on' or 'off', not 'maybe'.",
    ]


@pytest.mark.parametrize(
    "written", ["env:OSS_BUCKET", "OSS_BUCKET", "a OSS_BUCKET", "it's OSS_BUCKET", "'\" OSS_BUCKET"]
)
def test_a_value_is_shown_as_written(ini: Ini, environ: pytest.MonkeyPatch, written: str) -> None:
    environ.setenv("BUCKET", written)
    (problem,) = ini.problems(PAGE.replace("bucket = examplebucket", "bucket = env:BUCKET"))
    assert problem.startswith("The application egg:oss_wsgi: bucket must be 3 to 63 ")
    assert problem.endswith(f", not {written!r}.")


def test_an_apostrophe_does_not_hide_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise SettingsError(
            "OSS_REGION must be a region's ID, as OSS_HOST has it, not 'x'; see 'OSS_HOST', OSS_BUCKET."
        )

    monkeypatch.setattr(paste_deploy, "DirectUpload", refuse)
    with pytest.raises(SettingsError) as caught:
        paste_deploy.direct_upload(lambda environ, start_response: [], {})
    assert str(caught.value) == (
        "The filter egg:oss_wsgi: region must be a region's ID, as host has it, not 'x'; see 'OSS_HOST', bucket."
    )


def test_a_percent_sign_is_doubled_as_in_the_example(ini: Ini) -> None:
    (written,) = re.findall(r"(callback_url = \S*%%\S*)", EXAMPLE.read_text())
    fields = ini.app(f"{PAGE}{written}\nallow_anonymous = on\n").get("/oss/signature").json["fields"]
    assert b"https://app.example.com/a%20b/oss/callback" in base64.b64decode(fields["callback"])


def test_an_empty_variable_counts_as_an_empty_value(ini: Ini, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("NOTHING", " ")
    client = ini.app(PAGE + "session_token = env:NOTHING\nauthorize = env: NOTHING\nallow_anonymous = on\n")
    assert "x-oss-security-token" not in client.get("/oss/signature").json["fields"]
    environ.setenv("OSS_ACCESS_KEY_SECRET", "")
    (problem,) = ini.problems(PAGE)
    assert problem == "The application egg:oss_wsgi: access_key_secret must be set too: there is an access_key_id."


def test_the_environment_is_read_only_by_env(ini: Ini, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("OSS_ALLOW_ANONYMOUS", "on")
    environ.setenv("OSS_NO_SUCH_SETTING", "x")
    assert ini.app(PAGE).get("/oss/signature", expect_errors=True).status_int == 403


def test_the_default_section_holds_no_settings(ini: Ini) -> None:
    text = "[DEFAULT]\ndebug = true\nallow_anonymous = on\nno_such_key = x\n"
    assert ini.app(text + PAGE).get("/oss/signature", expect_errors=True).status_int == 403
    assert ini.app(text + PAGE + "get allow_anonymous = allow_anonymous\n").get("/oss/signature").status_int == 200


@pytest.mark.parametrize("indirect", [True, False], ids=["env", "literal"])
def test_no_secret_is_in_errors_log_lines_or_reprs(
    ini: Ini, environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, indirect: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    environ.setenv("OSS_TICKET_SECRET", "hush")
    with pytest.raises(SettingsError) as caught:
        ini.app(PAGE if indirect else PAGE.replace("env:OSS_TICKET_SECRET", "hush"))
    assert "egg:oss_wsgi: ticket_secret must be" in str(caught.value)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "hush" not in f"{chain} {chain!r}"
        chain = chain.__cause__ or chain.__context__ if not chain.__suppress_context__ else chain.__cause__
    assert "hush" not in caplog.text


def test_the_application_has_no_secret_in_its_repr() -> None:
    application = loadapp(f"config:{EXAMPLE}")
    assert REAL_BUCKET["OSS_ACCESS_KEY_SECRET"] not in repr(application) + repr(vars(application))


def test_a_secret_in_the_file_is_warned_about_by_key(ini: Ini, caplog: pytest.LogCaptureFixture) -> None:
    ini.app(PAGE)
    ini.app(PAGE.replace("env:OSS_ACCESS_KEY_SECRET", "hushhush"))
    (record,) = [record for record in caplog.records if record.name == "oss_wsgi.paste_deploy"]
    assert record.levelname == "WARNING"
    assert [name in record.getMessage() for name in ("access_key_secret", "env:", "hushhush")] == [True, True, False]


def test_the_filter_passes_other_requests_on(ini: Ini) -> None:
    lines = "prefix = /up\nallow_anonymous = on\non_upload = tests.test_paste_deploy:save\n"
    client = ini.app(FILTERED + lines + ini.trust)
    assert client.get("/oss/signature").text == "echo||/oss/signature||"
    assert client.get("/up/signature").json["method"] == "POST"
    assert without_signed_id(ini.callback(client, "/up/callback").json) == {"Status": "Ok", "saved": "users/eric/a.png"}


@pytest.mark.parametrize(("switch", "forwarded"), [("on", True), ("No", False)])
def test_a_callback_is_forwarded_where_switched_on(ini: Ini, switch: str, forwarded: bool) -> None:
    client = ini.app(FILTERED + f"forward_callback = {switch}\n" + ini.trust)
    answer = ini.callback(client, "/oss/callback")
    assert answer.text.endswith("|users/eric/a.png") == forwarded


def test_a_failed_import_is_the_cause_of_the_error(ini: Ini, monkeypatch: pytest.MonkeyPatch) -> None:
    (ini.file.parent / "broken_uploads.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(ini.file.parent)
    with pytest.raises(SettingsError, match="ZeroDivisionError: division by zero") as caught:
        ini.app(PAGE + "authorize = broken_uploads:authorize\n")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_passthrough_restores_the_header_from_its_keys(ini: Ini) -> None:
    text = FILTERED.replace(f"egg:oss_wsgi{KEYS}", "egg:oss_wsgi#authorization_passthrough\n")
    hidden = {"HTTP_X_ONE": "Basic eDp5", "HTTP_X_TWO": "Basic eDp5"}
    assert ini.app(text).get("/", extra_environ=hidden).text == "echo||/||"
    client = ini.app(text + "trusted_keys = HTTP_X_NONE, HTTP_X_TWO\n")
    assert client.get("/", extra_environ=hidden).text == "echo||/|Basic eDp5|"
    (problem,) = ini.problems(text + "bucket = examplebucket\n")
    assert problem == "The filter egg:oss_wsgi#authorization_passthrough: bucket is not a setting, remove it."


def test_the_guard_passes_only_signed_callbacks_of_its_bucket(ini: Ini) -> None:
    text = FILTERED.replace(f"egg:oss_wsgi{KEYS}", "egg:oss_wsgi#callback_guard\n") + ini.trust
    urls = "https://app.example.com/hook;https://x.example.com/h"
    client = ini.app(f"{text}bucket = examplebucket\ncallback_url = {urls}\n")
    assert ini.callback(client, "/anywhere").text.endswith("|users/eric/a.png")
    foreign = BODY.replace(b"example", b"another")
    assert ini.callback(client, "/anywhere", foreign, expect_errors=True).status_int == 403
    assert post_callback(client, BODY, ini.signer, target="/behind/a/proxy", signed_target="/h").status_int == 200
    unsigned = post_callback(client, BODY, ini.signer, target="/behind/a/proxy", signed_target="/i", expect_errors=True)
    assert unsigned.status_int == 403
    (problem,) = ini.problems(text + "callback_url = /hook\n")
    assert problem.startswith("The filter egg:oss_wsgi#callback_guard: callback_url: '/hook'")
    (problem,) = ini.problems(text + "regoin = cn-hangzhou\n")
    assert problem == "The filter egg:oss_wsgi#callback_guard: regoin is not a setting, remove it."


DISPATCHED = """
[composite:main]
use = egg:oss_wsgi#dispatcher

[app:rest]
paste.app_factory = tests.test_paste_deploy:make_echo
name = rest

[app:hook]
paste.app_factory = tests.test_paste_deploy:make_echo
name = hook
"""
PREFIX_RULE = "A prefix must be like '/uploads', beginning with '/' and not ending in one"


def test_the_dispatcher_mounts_the_named_applications(ini: Ini) -> None:
    client = ini.app(DISPATCHED.replace("#dispatcher\n", "#dispatcher\n/ = rest\n/hooks/oss = hook\n"))
    assert client.get("/hooks/oss/a").text == "hook|/hooks/oss|/a||"
    assert client.get("/hooks/ossified").text == "rest||/hooks/ossified||"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("/hooks = hook", "Add '/ = NAME', which names the application of all other paths."),
        ("/ = rest\n/hooks/ = hook", f"{PREFIX_RULE}, not '/hooks/'."),
        ("/ = rest\nloader = hook", f"{PREFIX_RULE}, not 'loader'."),
    ],
)
def test_the_dispatcher_accepts_only_prefixes(ini: Ini, lines: str, problem: str) -> None:
    (message,) = ini.problems(DISPATCHED.replace("#dispatcher\n", f"#dispatcher\n{lines}\n"))
    assert message == f"The composite egg:oss_wsgi#dispatcher: {problem}"


def test_the_example_lists_the_variables_that_it_reads() -> None:
    text = EXAMPLE.read_text()
    read = set(re.findall(r"= env:(\w+)", text))
    assert read == set(re.findall(r"(OSS_\w+)=(?:\.\.\.|\$)", text)) == set(ENVIRON)
