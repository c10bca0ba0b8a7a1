"""Lines of the log: their fields, their format, names that cannot break them, and secrets that are masked."""

from __future__ import annotations

import base64
import builtins
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from oss_wsgi.log_format import MASK, MAX_FIELD, MAX_MESSAGE, JSONFormatter, Masker, TextFormatter, configure, cut

from .support.linear import MARGIN, slowdown

SECRET = "ExampleSecret0000000000000000A"
MASKER = Masker([SECRET])


def record(message: str = "refused: status=%d", *arguments: Any, **extra: Any) -> logging.LogRecord:
    log_record = logging.LogRecord("oss_wsgi.x", logging.WARNING, "x.py", 1, message, arguments or None, None)
    log_record.created = 1_800_000_000.25
    vars(log_record).update(extra)
    return log_record


def raised(error: Exception) -> Any:
    try:
        raise error
    except Exception:
        return sys.exc_info()


def test_a_line_of_json_has_time_message_and_fields() -> None:
    fields = {"request_id": "r1", "status": 403, "reason": "ticket_missing", "user": "eric", "seconds": 0.5}
    line = JSONFormatter(MASKER).format(record("refused: status=%d", 403, **fields, other="x"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "WARNING",
        "logger": "oss_wsgi.x",
        "message": "refused: status=403",
        **fields,
    }


def test_a_line_of_text_ends_in_the_fields_of_its_request() -> None:
    line = TextFormatter(MASKER).format(record("refused", request_id="r1", user="eric", object="a b.png", status=403))
    assert line.endswith('WARNING oss_wsgi.x: refused request_id=r1 user=eric object="a b.png"')
    assert TextFormatter(MASKER).format(record("plain")).endswith("oss_wsgi.x: plain")


def test_where_there_are_several_processes_a_line_ends_in_the_number_of_its_own() -> None:
    assert TextFormatter(MASKER, 2).format(record("plain", user="eric")).endswith(" plain user=eric process=2")
    assert json.loads(JSONFormatter(MASKER, 2).format(record("plain")))["process"] == 2


@pytest.mark.parametrize("name", ["a\r\nWARNING forged", 'a" id="r2', "a\u2028b", "a=b"])
def test_a_name_cannot_begin_a_line_or_end_its_quotes(name: str) -> None:
    text = TextFormatter(MASKER).format(record("stored %s", name, request_id="r1", object=name))
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    shown = text.partition(" object=")[2]
    assert json.loads(shown) == name
    assert shown.isascii()
    line = JSONFormatter(MASKER).format(record("stored %s", name, object=name))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["object"] == name


@pytest.mark.parametrize("form", [TextFormatter, JSONFormatter])
def test_a_secret_is_masked_in_message_fields_and_traceback(form: type[Any]) -> None:
    log_record = record("key %s", SECRET, user=f"u{SECRET}", path=f"/{SECRET}", object=f"{SECRET}.png")
    log_record.exc_info = raised(ValueError(f"no {SECRET}"))
    log_record.stack_info = f"Stack: {SECRET}"
    other = logging.Formatter().format(log_record)
    assert SECRET in str(log_record.exc_text)
    line = form(MASKER).format(log_record)
    assert SECRET not in line
    assert logging.Formatter().format(log_record) == other
    assert "ValueError: no ***" in line
    assert "key ***" in line


def test_a_long_object_name_stays_readable() -> None:
    name = "Users/" + "Ab3" * 40
    assert json.loads(JSONFormatter(MASKER).format(record("x", object=name)))["object"] == name
    assert TextFormatter(MASKER).format(record("x", object=name)).endswith(f"object={name}")


# Lengths


def test_a_text_is_cut_and_says_so() -> None:
    assert cut("a" * 1024) == "a" * 1024
    assert cut("a" * 1025) == "a" * 1024 + "... (cut: 1025 characters)"
    assert cut("abc", 2) == "ab... (cut: 3 characters)"


@pytest.mark.parametrize("character", ["a", "\x00", "猫"])
def test_a_long_message_is_cut_at_8_kib(character: str) -> None:
    long = record("%s", character * 100_000)
    text = TextFormatter(MASKER).format(long)
    assert 8192 < len(text) < 8192 + 50
    assert text.endswith(" characters)")
    message = json.loads(JSONFormatter(MASKER).format(long))["message"]
    assert message == character * 8192 + "... (cut: 100000 characters)"


def test_a_long_path_is_cut_at_1_kib() -> None:
    line = JSONFormatter(MASKER).format(record("x", path="/" + "a" * 30_000, object="b" * 1023))
    assert json.loads(line)["path"] == "/" + "a" * 1023 + "... (cut: 30001 characters)"
    assert json.loads(line)["object"] == "b" * 1023
    assert len(TextFormatter(MASKER).format(record("x", user='"' * 100_000))) < 3000


@pytest.mark.parametrize("form", [TextFormatter, JSONFormatter])
def test_a_secret_at_the_cut_is_masked_whole(form: type[Any]) -> None:
    for length in range(0, len(SECRET) + 2100, 9):  # masks before it make the text shorter
        before = f"ticket={'Ab1_' * 300} " + "a " * (4000 - length // 2)
        line = form(MASKER).format(record(before + SECRET + " a" * 2000, path="a" * 1010 + SECRET))
        assert SECRET[:8] not in line


# Tracebacks

FORGED = "2027-01-15 08:00:00,250 INFO oss_wsgi.x: forged"


def errors_that_forge() -> Iterator[BaseException]:
    yield ValueError(f"no\n{FORGED}")
    yield ValueError(f"no\r{FORGED}\u2028{FORGED}\x1b[31m")
    yield OSError(f'no\n  File "x"\n{FORGED}')
    yield SyntaxError(f"no\n{FORGED}", (f"a\n{FORGED}", 1, 1, f"b\n{FORGED}"))
    try:
        raise KeyError(f"inner\n{FORGED}") from ValueError(f"cause\n{FORGED}")
    except KeyError as error:
        yield error
    if sys.version_info >= (3, 11):
        noted = ValueError("no")
        noted.add_note(f'{FORGED}\n  File "a\r{FORGED}')
        yield noted
        yield builtins.ExceptionGroup(f"group\n{FORGED}", [ValueError(f"no\n{FORGED}")])


@pytest.mark.parametrize("error", list(errors_that_forge()), ids=lambda error: type(error).__name__)
def test_the_text_of_an_exception_cannot_forge_a_line(error: Exception) -> None:
    failed = record("failed")
    failed.exc_info, failed.stack_info = raised(error), f"Stack:\n{FORGED}"
    first, *others = TextFormatter(MASKER).format(failed).splitlines()
    assert first.endswith("oss_wsgi.x: failed")
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    line = JSONFormatter(MASKER).format(failed)
    assert len(line.splitlines()) == 1
    assert all(line.isprintable() for line in json.loads(line)["exception"].split("\n"))


@pytest.mark.parametrize("form", [TextFormatter, JSONFormatter])
def test_the_text_of_an_exception_takes_one_line(form: type[Any]) -> None:
    failed = record("failed")
    failed.exc_info = raised(ValueError(f"no\n{FORGED}"))
    line = form(MASKER).format(failed)
    lines = line.split("\n") if form is TextFormatter else json.loads(line)["exception"].split("\n")
    assert lines[-1].lstrip() == rf"ValueError: no\n{FORGED}"
    assert any(line.lstrip().startswith('File "') for line in lines), "the frames stay lines"
    assert not any(line.startswith(FORGED) for line in lines)


@pytest.mark.parametrize("form", [TextFormatter, JSONFormatter])
def test_the_text_of_an_exception_is_cut_at_8_kib(form: type[Any]) -> None:
    failed = record("failed")
    failed.exc_info = raised(ValueError("a" * 100_000))
    assert 8192 < len(form(MASKER).format(failed)) < 8192 + 2000


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


@pytest.mark.parametrize("form", ["text", "json"])
def test_configure_writes_lines_of_its_format_without_secrets(form: str, root: logging.Logger) -> None:
    stream = io.StringIO()
    configure(form, [SECRET], stream=stream)
    log = logging.getLogger("oss_wsgi.test")
    log.debug("unseen")
    log.info("seen %s", SECRET, extra={"request_id": "r1"})
    (line,) = stream.getvalue().splitlines()
    assert SECRET not in line
    if form == "json":
        assert json.loads(line)["request_id"] == "r1"
    else:
        assert line.endswith("INFO oss_wsgi.test: seen *** request_id=r1")


# Masker


ENCODED_SECRET = "Example/Secret+000000000000000A"
V1_SIGNATURE = "VsxOcOudx5ka0K2mMV8f0pMZ8Dk="
V4_SIGNATURE = "9a" * 32
POLICY = base64.b64encode(json.dumps({"expiration": "2030-01-01T00:00:00Z", "conditions": []}).encode()).decode()
TICKET = "2MmH5AAATlwmqOFw7Iwbeq1_xKmqb1G0kEYmKl9hs0Gj4lBzJm_FzBAQ1sYFa9nZSoM_Xvgjq-ophJwfcxRlZTwd-gKnTAWOPPbUTyj"
RSA = "yNbq6G2zePuhGIPMglajFKXhJSwSpq3ugkUOJq7GGoq4F7UbRmqQKXSrPXBeP0y1bJVyOwMCYDASXVSZPaee7w=="


@pytest.mark.parametrize("written", ["{}", "OSSError({!r})", "x{}x", "https://h/?k={}"])
def test_a_literal_secret_is_masked_wherever_it_stands(written: str) -> None:
    mask = Masker([ENCODED_SECRET, None, ""])
    for form in (ENCODED_SECRET, quote(ENCODED_SECRET, safe="")):
        assert mask(written.format(form)) == written.format(MASK if "!r" not in written else "X").replace("X", MASK)


def test_a_secret_that_begins_with_another_is_masked_whole() -> None:
    assert Masker(["abcdef", "abcdefghi"])("abcdefghi abcdef") == f"{MASK} {MASK}"


@pytest.mark.parametrize("name", ["OSS_TICKET_SECRET_FILE", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
def test_a_secret_that_is_a_word_of_a_variables_name_leaves_the_name(name: str) -> None:
    assert Masker(["SECRET"])(f"set {name}, not to SECRET") == f"set {name}, not to {MASK}"


@pytest.mark.parametrize("text", ["OSS_SECRET_7", "XOSS_SECRET", "OSS_SECRETs", "MY_SECRET"])
def test_a_secret_in_what_is_no_variables_name_is_masked(text: str) -> None:
    assert "SECRET" not in Masker(["SECRET"])(text)


def test_a_secret_that_looks_like_a_variables_name_is_masked() -> None:
    assert Masker(["OSS_ABCDEF"])("OSS_ABCDEF OSS_ABCDEF_FILE") == f"{MASK} {MASK}_FILE"


def masks(form: str, name: str, value: str) -> bool:
    masked = Masker()(form.format(name, value))
    return value not in masked and name in masked and MASK in masked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Signature", V1_SIGNATURE),
        ("x-oss-signature", V4_SIGNATURE),
        ("policy", POLICY),
        ("callback", POLICY),
        ("ticket", "2MmH5AAATlwmqOFw7Iwbeq1_xKmq"),
        ("x-oss-security-token", "CAISabcdefghijklmnopqr"),
        ("SecurityToken", "CAISabcd"),
        ("security_token", "CAISabcd"),
        ("AccessKeySecret", "swordfish"),
        ("OSS_TICKET_SECRET", "swordfish"),
        ("password", "swordfish"),
        ("Authorization", RSA),
    ],
)
def test_a_value_with_a_telling_name_is_masked(name: str, value: str) -> None:
    assert masks("{}={}", name, value)


@pytest.mark.parametrize("form", ["a&{}={}&b=1", "<{}>{}</", '{{"{}": "{}"}}', "{{'{}': '{}'}}", "{}: {}"])
def test_a_value_is_masked_however_its_name_is_written(form: str) -> None:
    assert masks(form, "x-oss-signature", V4_SIGNATURE)
    assert masks(form, "access_key_secret", "swordfish")


@pytest.mark.parametrize("value", [TICKET, RSA, base64.b64encode(POLICY.encode()).decode(), quote(RSA, safe="")])
def test_a_long_value_is_masked_without_a_name(value: str) -> None:
    assert Masker()(f"odd {value} odd") == f"odd {MASK} odd"


@pytest.mark.parametrize(
    "text",
    [
        "refused: status=403 reason=signature_wrong hint='the signature has another length' oss_request_id=674EF4",
        "a callback does not reach /callback: something stands before it",
        "OSS_TICKET_SECRET is not set: this process log_record one of its own",
        "say the public URL in OSS_CALLBACK_URL=https://app.example.com/oss/callback",
        "user-dir-prefix/20261124-0123456789abcdef0123456789abcdef.png was handled",
    ],
)
def test_what_people_need_to_read_is_not_masked(text: str) -> None:
    assert Masker([ENCODED_SECRET])(text) == text


def test_a_secret_of_a_few_letters_is_not_masked_in_words() -> None:
    assert Masker(["b", "", None])("a bucket begins") == "a bucket begins"
    assert Masker(["swordf"])("the swordf is out") == f"the {MASK} is out"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"Authorization: OSS LTAI5t:{V1_SIGNATURE}", f"Authorization: {MASK}"),
        ("Cookie: session=abc; csrf=def", f"Cookie: {MASK}"),
        ("{'HTTP_COOKIE': 'session=abc'}", f"{{'HTTP_COOKIE': '{MASK}'}}"),
        (f"GET /a/{V4_SIGNATURE}/b", f"GET /a/{MASK}/b"),
        (f"512 bits, SHA-256 {V4_SIGNATURE}", f"512 bits, SHA-256 {V4_SIGNATURE}"),
        ("Authorization: Basic dXNlcjpwYXNz", f"Authorization: {MASK}"),
        ("Authorization: Bearer abcd.efgh", f"Authorization: {MASK}"),
        (f"[('Signature', '{V1_SIGNATURE}')]", f"[('Signature', '{MASK}')]"),
        ("('OSS_ACCESS_KEY_SECRET', 'swordfish')", f"('OSS_ACCESS_KEY_SECRET', '{MASK}')"),
        (f'name="Signature"\r\n\r\n{V1_SIGNATURE}\r\n--', f'name="Signature"\r\n\r\n{MASK}\r\n--'),
        (repr(f'name="Signature"\r\n\r\n{V1_SIGNATURE}\r\n--'), repr(f'name="Signature"\r\n\r\n{MASK}\r\n--')),
        (f"a digest of 65: {V4_SIGNATURE}a", f"a digest of 65: {V4_SIGNATURE}a"),
    ],
)
def test_headers_and_paths_are_masked_and_fingerprints_are_not(text: str, masked: str) -> None:
    assert Masker()(text) == masked


@pytest.mark.parametrize("secret", ['pa"ss\\word of 32 characters, with é', "it's\nmine, and of 32 characters"])
@pytest.mark.parametrize("write", [repr, json.dumps, lambda text: quote(text, safe="").lower(), str])
def test_a_literal_secret_is_masked_however_it_is_quoted(secret: str, write: Callable[[str], str]) -> None:
    assert Masker([secret])(f"x{write(secret)}x").replace('"', "").replace("'", "") == f"x{MASK}x"


HOSTILE = {
    "quotes": ("GET /ticket", '"'),
    "quotes of a cookie": ("cookie", '"'),
    "blanks": ("ticket", " "),
    "blanks after a name": ("ticket=", " "),
    "blanks after a scheme": ("ticket=Basic", " "),
    "blanks after OSS": ("ticket=OSS", " "),
    "line feeds of a cookie": ("cookie=", "\n"),
    "names": ("", "ticket"),
    "names and signs": ("", "ticket="),
    "names and quotes": ("", "ticket'\\\""),
    "names and OSS": ("", "ticket=OSS "),
    "names, OSS and colons": ("", "ticket:OSS a.b:"),
    "cookies": ("", "cookie"),
    "cookies and lines": ("", "cookie=\n"),
    "escapes": ("", "%"),
    "escaped signs": ("ticket", "%22%3A%22"),
    "capitals": ("", "A"),
    "variables": ("", "OSS_A "),
    "a variable of many words": ("OSS", "_A"),
    "capitals apart": ("", "A "),
    "capitals and escapes": ("", "A" * 79 + "%"),
    "digits": ("", "0"),
    "hex": ("", "0a"),
    "a secret begun": ("", SECRET[:-1]),
    "control characters": ("", "\x00"),
    "fields of a form": ("", 'name="ticket"\r\n'),
}


@pytest.mark.slow
@pytest.mark.parametrize(("before", "repeated"), HOSTILE.values(), ids=HOSTILE)
def test_masking_takes_time_in_proportion_to_the_text(before: str, repeated: str) -> None:
    formatter = TextFormatter(MASKER)

    def write(text: str) -> str:
        return formatter.format(record("%s %r", text, text, path=text, object=text))

    assert slowdown(write, lambda length: before + repeated * (length // len(repeated))) < MARGIN


def test_a_long_text_is_cut_before_it_is_masked_and_shows_no_part_of_a_secret() -> None:
    lengths = []

    class CountingMasker(Masker):
        def __call__(self, text: str) -> str:
            lengths.append(len(text))
            return super().__call__(text)

    mask = CountingMasker([SECRET])
    text = "/" * (MAX_FIELD - 10) + SECRET + "/" * 100_000
    path = json.loads(JSONFormatter(mask).format(record("%s", text, path=text)))["path"]
    assert path == "/" * (MAX_FIELD - 10) + "***" + "/" * 7 + f"... (cut: {len(text)} characters)"
    assert SECRET[:10] not in TextFormatter(mask).format(record("/" * (MAX_MESSAGE - 10) + text[MAX_FIELD - 10 :]))
    assert max(lengths) <= MAX_MESSAGE + 1024


def test_a_long_run_of_one_kind_is_not_masked_for_what_follows_it() -> None:
    text = "A" * 100 + " and lower case, and 1"
    assert Masker()(text) == text
