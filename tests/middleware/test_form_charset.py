"""The charsets of forms: each text is written as browsers do."""

from __future__ import annotations

import pytest

from oss_wsgi.middleware.form_charset import encoder_of


def test_every_charset_of_a_page_is_known_and_no_other_is() -> None:
    """Those that ``document.characterSet`` returns, by the Encoding standard."""
    single = "ibm866 koi8-r koi8-u macintosh windows-874 x-mac-cyrillic iso-8859-8-i windows-1252"
    iso = [f"iso-8859-{number}" for number in (*range(2, 9), 10, 13, 14, 15, 16)]
    windows = [f"windows-{number}" for number in range(1250, 1259)]
    others = "utf-8 gbk gb18030 big5 euc-jp iso-2022-jp shift_jis euc-kr utf-16be utf-16le"
    for charset in (*single.split(), *iso, *windows, *others.split()):
        encoder = encoder_of(charset)
        assert encoder is not None and encoder("a") == b"a", charset
    for charset in ("iso-8859-12", "utf-7", "unicode_escape", "rot13", "hex", "idna", "undefined", "utf-32", ""):
        assert encoder_of(charset) is None, charset


@pytest.mark.parametrize(
    ("charset", "text", "expected"),
    [
        ("utf-8", "猫\ud83d", "猫&#55357;".encode()),
        ("utf-16le", "猫", "猫".encode()),
        ("gbk", "照片ー", b"\xd5\xd5\xc6\xac\xa9\x60"),
        ("gbk", "€", b"\x80"),
        ("gbk", "ǹ⺁䜣\ue000", b"\xa8\xbf\xfe\x50\xfe\x80\xaa\xa1"),
        ("gbk", "\U0001f600\U00020000é한", b"&#128512;&#131072;\xa8\xa6&#54620;"),
        ("gb18030", "€\U0001f600", b"\xa2\xe3\x94\x39\xfc\x36"),
        ("big5", "貓のД", b"\xbf\xdf\xc7\x55\xc7\xf7"),
        ("big5", "～€￥", b"\xa1\xe3\xa3\xe1\xa2\x44"),
        ("big5", "Àé\U0001f600", b"&#192;&#233;&#128512;"),
        ("shift_jis", "猫①髙﨑∵ⅰ", b"\x94\x4c\x87\x40\xfb\xfc\xfa\xb1\x81\xe6\xfa\x40"),
        ("shift_jis", "ｱ\U0001f600", b"\xb1&#128512;"),
        ("euc-kr", "똠", b"\x8c\x63"),
        ("iso-8859-1", "€", b"\x80"),
    ],
)
def test_a_text_is_written_as_chromium_writes_it(charset: str, text: str, expected: bytes) -> None:
    encoder = encoder_of(charset)
    assert encoder is not None
    assert encoder(text) == expected
