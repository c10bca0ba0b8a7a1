"""A recorded request as a line for curl."""

from __future__ import annotations

import shlex

from .masks import HIDDEN, Masks
from .story import Story

#: Headers that curl makes itself, or that belong to the connection.
_OWN = ("host", "content-length", "connection", "accept-encoding", "cookie", "user-agent", "accept", "expect")


def curl_line(story: Story, masks: Masks) -> str:
    """Return the command; a file comes from the folder of the person who runs it.

    :param masks: hides secrets. Tickets must stay, since the policy signs them.
    """
    words = ["curl", "-i"]
    if story.method == "HEAD":
        words[1] = "-I"
    elif story.fields is None and story.method != "GET":
        words += ["-X", story.method]
    headers = [(name, value) for name, value in story.headers if name not in _OWN and not name.startswith("sec-")]
    if story.fields is not None:
        headers = [(name, value) for name, value in headers if name != "content-type"]
    for name, value in headers:
        words += ["-H", f"{name}: {masks.header(name, value)}"]
    if story.fields is not None:
        for name, value in story.fields.items():
            shown = masks.header(name, value)
            words += ["--form-string", f"{name}={shown}"]
        file = f'file=@"{_quoted(story.file_name.rpartition("/")[2] or "FILE")}"'
        words += ["-F", f"{file};type={story.file_type}" if story.file_type else file]
    elif story.method == "PUT" and not story.header("x-oss-copy-source"):
        words += ["--data-binary", "@" + (story.key.rpartition("/")[2] or "FILE")]
    target = masks.target(story.target)
    words.append(f"{story.base_url}{target}")
    line = " ".join(map(shlex.quote, words))
    return (
        f"# {HIDDEN} or … stands for a secret that is not shown.\n{line}"
        if HIDDEN in line or "with a secret)" in line
        else line
    )


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
