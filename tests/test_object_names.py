"""Object names: no file name leaves its prefix, hides characters, or contains what OSS replaces."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.object_names import dir_problem, is_hidden, original_folder, original_name, path_problem, unique_name

HIDDEN = "\x00\x1f\x7f\x85\xad\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff\ud800\U000e0001"
NASTY = st.text(
    st.sampled_from('./\\ ${}filename\n\u202e\u200b\ud800:*?"<>|#%`^é中e\u0301;\u037e\u1fef~-_a'), max_size=40
)


def test_a_control_format_bidi_or_surrogate_character_is_hidden() -> None:
    for character in HIDDEN:
        assert is_hidden(character), ascii(character)
        assert path_problem(f"a{character}b") is not None
        assert original_name(f"a{character}b.txt") == "ab.txt"


def test_a_visible_character_is_not_hidden() -> None:
    assert [character for character in "aZ09-_. 中é😀©\u0301" if is_hidden(character)] == []


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("年度报告 2024（终稿）.pdf", "年度报告 2024（终稿）.pdf"),
        ("re\u0301sume\u0301.doc", "r\u00e9sum\u00e9.doc"),
        ("C:\\Users\\eric\\cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("..\u200b", "file"),
        (".\u200b./x", "x"),
        (" . . ", "file"),
        (".htaccess", "htaccess"),
        ("  a   b\t\nc\u00a0\u3000d .txt ", "a bc d .txt"),
        ("a${filename}.png", "a__filename_.png"),
        ("$\u200b{filename}", "__filename_"),
        ('<a>:"b|c?*#%`d^{}', "_a___b_c_____d___"),
        ("a\r\nX-Evil: 1.txt", "aX-Evil_ 1.txt"),
        ("x\u1fefy", "x_y"),
    ],
    ids=ascii,
)
def test_an_original_name_is_cleaned_and_keeps_its_chinese(filename: str, expected: str) -> None:
    assert original_name(filename) == expected


@pytest.mark.slow
@given(filename=NASTY | st.text(st.characters(), max_size=60))
@settings(max_examples=300, deadline=None)
def test_an_original_name_is_always_a_safe_last_part(filename: str) -> None:
    name = original_name(filename)
    assert 1 <= len(name.encode()) <= 255
    assert path_problem(name) is None
    assert not set(name) & set('/\\$<>:"|?*#%`{}^')
    assert not name.startswith((".", " ")) and not name.endswith((".", " "))
    assert unicodedata.is_normalized("NFC", name)
    assert original_name(name) == name, "cleaning twice changes nothing"


@pytest.mark.parametrize(
    ("filename", "length"),
    [
        ("a" * 400 + ".png", 255),
        ("中" * 86, 255),
        ("中" * 400 + ".png", 253),
        ("a." + "b" * 300, 255),
        ("a" * 250 + "." + " " * 10 + "b.png", 254),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_long_name_is_cut_and_keeps_its_extension(filename: str, length: int) -> None:
    name = original_name(filename)
    assert len(name.encode()) == length
    assert "\ufffd" not in name
    extension = re.search(r"\.(png|jpeg)$", filename)
    assert name.endswith(extension.group(0) if extension else "")


@pytest.mark.parametrize(
    ("filename", "extension"),
    [
        ("CAT.PNG", ".png"),
        ("a.tar.gz", ".gz"),
        (".htaccess", ".htaccess"),
        ("a.", ""),
        ("a.图", ""),
        ("a.png\u202e", ""),
        ("a.p$ng", ""),
        ("a.İ", ""),
        ("a." + "b" * 16, "." + "b" * 16),
        ("a." + "b" * 17, ""),
    ],
)
def test_a_unique_name_keeps_only_a_safe_extension(filename: str, extension: str) -> None:
    assert unique_name(filename, "20241203", "0123abcd") == f"20241203/0123abcd{extension}"


def test_a_sharded_name_has_the_first_digits_of_the_token_before_the_day() -> None:
    assert unique_name("a.PNG", "20241203", "0123abcd", sharded=True) == "01/20241203/0123abcd.png"


@pytest.mark.slow
@given(filename=NASTY | st.text(st.characters(), max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_unique_name_is_always_plain_ascii(filename: str) -> None:
    assert re.fullmatch(r"20241203/0123abcd(\.[a-z0-9]{1,16})?", unique_name(filename, "20241203", "0123abcd"))


INVALID_PATHS = {
    "/a": "must not begin with '/'",
    "a\\b": "backslash",
    "a//b": "'//'",
    "..": "'.' or '..'",
    "a/../b": "'.' or '..'",
    "a/./b": "'.' or '..'",
    ".\u200b./a": "control",
    "a\ud800": "control",
    "${filename}": "OSS would replace it",
    "a" * 1024: "bytes is too long: OSS allows 1023",
    "中" * 342: "bytes is too long: OSS allows 1023",
}


@pytest.mark.parametrize(("path", "problem"), INVALID_PATHS.items(), ids=lambda value: ascii(value)[:24])
def test_an_invalid_path_is_refused(path: str, problem: str) -> None:
    assert problem in (path_problem(path) or "")
    assert problem in (dir_problem(f"{path}/") or ""), "also as a prefix"


@pytest.mark.parametrize("path", ["用户/42/猫.png", "a/...b/.c", "a$b", "{filename}", "a" * 1023, "中" * 341])
def test_a_valid_path_has_no_problem(path: str) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize("prefix", ["", "a/", "a/b/", "用户/", "..a/"])
def test_a_valid_prefix_has_no_problem(prefix: str) -> None:
    assert dir_problem(prefix) is None


def test_a_prefix_without_its_slash_is_refused_with_the_fix() -> None:
    assert dir_problem("user1") == "'user1' must end in '/', or 'user1' would cover 'user10' too: write 'user1/'."
    assert dir_problem("/") is not None


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("a.jpg", ""),
        ("holidays/2026/a.jpg", "holidays/2026/"),
        ("../../etc/./a.jpg", "etc/"),
        ("/root//x/a.jpg", "root/x/"),
        ("C:\\fake\\a.jpg", "C_/fake/"),
        ("a\u202eb/c?/x", "ab/c_/"),
        ("... /x", ""),
    ],
)
def test_a_folder_is_cleaned_part_by_part(path: str, folder: str) -> None:
    assert original_folder(path) == folder
    assert path_problem(f"{folder}x") is None
