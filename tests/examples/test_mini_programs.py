"""The examples for mini programs: `uploadFile` replayed byte for byte, in the formats of the platforms' libraries.

No capture of WeChat itself is published: its developer tool is Chromium, its clients use libraries of their systems.
protocol.md 2.8 has the source of each format.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..browser.clients.site import Site, serving
from ..support.absent import skip_or_fail

EXAMPLES = Path(__file__).parents[2] / "examples" / "mini-programs"
PNG = b"\x89PNG\r\n\x1a\n--not a boundary--\r\n\r\n"
CHROMIUM = {
    "boundary": "----WebKitFormBoundaryPcX8BSCUeQ3MxzVT",
    "text": ['Content-Disposition: form-data; name="NAME"'],
    "file": ['Content-Disposition: form-data; name="NAME"; filename="FILE"', "Content-Type: image/png"],
}
OKHTTP = {
    "boundary": "be1563be-4245-4ac5-8a95-498ba5b57ba8",
    "text": ['Content-Disposition: form-data; name="NAME"', "Content-Length: LENGTH"],
    "file": [
        'Content-Disposition: form-data; name="NAME"; filename="FILE"',
        "Content-Type: image/png",
        "Content-Length: LENGTH",
    ],
}
FORMATS: dict[str, dict[str, Any]] = {
    "Chromium: the developer tool, H5": CHROMIUM,
    "OkHttp: Android": OKHTTP,
    "Apache HttpClient: old Android": {
        "boundary": "Xk3l8T2hVqJp_-2mZ7",
        "text": [
            'Content-Disposition: form-data; name="NAME"',
            "Content-Type: text/plain; charset=UTF-8",
            "Content-Transfer-Encoding: 8bit",
        ],
        "file": [
            'Content-Disposition: form-data; name="NAME"; filename="FILE"',
            "Content-Type: application/octet-stream",
            "Content-Transfer-Encoding: binary",
        ],
    },
    "NSURLSession in React Native: a quoted boundary": {**CHROMIUM, "boundary": "912CCAA237EC3DB8", "quoted": True},
    "a Chinese name": {**CHROMIUM, "filename": "图片 1.png"},
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if shutil.which("node") is None:
        skip_or_fail("node")
    # Node takes a module without a package.json for one of the old kind.
    shutil.copy(EXAMPLES / "oss-upload.js", tmp_path / "oss-upload.mjs")
    shutil.copy(Path(__file__).parent / "mini_program.mjs", tmp_path)
    page = (EXAMPLES / "wechat" / "index.js").read_text(encoding="utf-8")
    (tmp_path / "index.mjs").write_text(page.replace("./oss-upload.js", "./oss-upload.mjs"), encoding="utf-8")
    with serving(tmp_path) as site:
        yield site


def run(
    site: Site,
    folder: Path,
    action: str = "upload",
    version: str = "v4",
    language: str | None = None,
    **wire_format: Any,
) -> dict[str, Any]:
    """Run the example on the platform, and return what it reports."""
    (folder / "tmp_9b1f.png").write_bytes(PNG)
    options = {
        "format": {**CHROMIUM, **wire_format},
        "signatureUrl": f"{site.url}/{version}/signature",
        "file": {"path": str(folder / "tmp_9b1f.png"), "size": len(PNG)},
        "action": action,
        **({"language": language} if language else {}),
    }
    command = ["node", "mini_program.mjs", json.dumps(options)]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    result: dict[str, Any] = json.loads(process.stdout)
    return result


@pytest.mark.parametrize(
    ("wire_format", "version"),
    [(wire_format, "v4") for wire_format in FORMATS.values()] + [(OKHTTP, "v1")],
    ids=[*FORMATS, "OkHttp with V1"],
)
def test_each_format_is_stored_and_reported(
    site: Site, tmp_path: Path, wire_format: dict[str, Any], version: str
) -> None:
    result = run(site, tmp_path, version=version, **wire_format)
    assert result["answer"] == {"Status": "Ok"}, result
    assert result["progress"] == 100
    assert site.stored(result["key"]) == PNG
    # The pinned type holds, whatever the part says.
    assert [(upload.object, upload.mime_type) for upload in site.uploads] == [(result["key"], "image/png")]


def test_where_pages_report_the_program_does(site: Site, tmp_path: Path) -> None:
    result = run(site, tmp_path, version="page")
    assert result["answer"] == {"Status": "Ok"}, result
    assert [(upload.object, upload.recovered) for upload in site.uploads] == [(result["key"], False)]


def test_a_file_that_is_not_last_is_refused_with_the_reason(site: Site, tmp_path: Path) -> None:
    result = run(site, tmp_path, fileFirst=True)
    assert (result["name"], result["status"], result["stored"]) == ("UploadError", 403, False) or (
        result["status"] == 400
    ), result
    assert result["code"]
    assert result["message"].startswith("OSS refuses the file: ")
    assert site.uploads == []


def test_a_failed_callback_is_an_error_that_says_the_file_is_stored(site: Site, tmp_path: Path) -> None:
    site.oss.fail_next("callback_status", status=500)
    result = run(site, tmp_path)
    assert (result["status"], result["code"], result["stored"]) == (203, "CallbackFailed", True)
    assert result["message"] == "The file is stored, but the application was not told of it."
    assert site.stored(result["key"]) == PNG


def test_people_read_chinese_where_the_page_asks_for_it(site: Site, tmp_path: Path) -> None:
    assert run(site, tmp_path, version="v5", language="zh")["message"] == "服务器不允许上传这个文件。"
    assert run(site, tmp_path, fileFirst=True, language="zh")["message"].startswith("OSS 拒绝了这个文件：")
    site.oss.fail_next("callback_status", status=500)
    assert run(site, tmp_path, language="zh")["message"] == "文件已存储，但应用未收到通知。"


def test_a_refused_signature_is_an_error_and_nothing_is_sent(site: Site, tmp_path: Path) -> None:
    result = run(site, tmp_path, version="v5")
    assert (result["name"], result["status"], result["stored"]) == ("UploadError", 404, False)
    assert site.oss.requests == []


def test_the_page_for_wechat_shows_the_upload(site: Site, tmp_path: Path) -> None:
    shown = run(site, tmp_path, action="page")
    assert shown["text"].startswith("uploaded ")
    assert shown["progress"] == 100
    assert len(site.uploads) == 1


COMPILE = """
const { readFileSync } = require("fs");
const { transformSync } = require("esbuild");
const { parse, compileScript } = require("@vue/compiler-sfc");
const [jsx, vue] = process.argv.slice(1).map((path) => readFileSync(path, "utf-8"));
transformSync(jsx, { loader: "jsx", jsx: "automatic" });
const { descriptor, errors } = parse(vue);
if (errors.length) throw errors[0];
compileScript(descriptor, { id: "x", inlineTemplate: true });
"""


def test_the_pages_for_taro_and_uni_app_compile() -> None:
    node = shutil.which("node") or skip_or_fail("node")
    command = [node, "-e", COMPILE, str(EXAMPLES / "taro" / "index.jsx"), str(EXAMPLES / "uni-app" / "index.vue")]
    process = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if "Cannot find module" in process.stderr:
        skip_or_fail("esbuild and vue, packages of npm,")
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(
    ("wechat", "outcome"),
    [
        ({"code": "c0de", "statusCode": 200}, "kept token-of-c0de"),
        ({"code": "c0de", "statusCode": 403}, "failed the login failed: 403"),
        ({"errMsg": "login:fail", "statusCode": 200}, "failed login:fail"),
    ],
)
def test_the_login_keeps_the_token_of_your_own_server(wechat: dict[str, Any], outcome: str, tmp_path: Path) -> None:
    node = shutil.which("node") or skip_or_fail("node")
    program = """
        const { code, errMsg, statusCode } = JSON.parse(process.argv[2]);
        globalThis.wx = {
          login: ({ success, fail }) => (code ? success({ code }) : fail({ errMsg })),
          request: ({ method, data, success }) => {
            success({ statusCode, data: { token: method === "POST" && `token-of-${data.code}` } });
          },
          setStorageSync: (name, value) => console.log("kept", value),
        };
        const { login } = await import(process.argv[3]);
        await login().catch((error) => console.log("failed", error.message));
    """
    (tmp_path / "login.mjs").write_text((EXAMPLES / "wechat" / "login.js").read_text(encoding="utf-8"))
    (tmp_path / "run.mjs").write_text(program)
    command = [node, str(tmp_path / "run.mjs"), json.dumps(wechat), str(tmp_path / "login.mjs")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == outcome
