"""One row of the tables of `explain`, and where its words come from."""

from __future__ import annotations

from dataclasses import dataclass

_HELP = "https://www.alibabacloud.com/help/en/oss/developer-reference/"

#: Short name -> what was read.
SOURCES = {
    "POST": f"OSS help, PostObject ({_HELP}postobject)",
    "V4": "OSS help, Signature version 4 in PostObject",
    "CALLBACK": f"OSS help, Callback ({_HELP}callback)",
    "CORS": "OSS help, PutBucketCors, Options and Configure CORS",
    "TROUBLE": "OSS help, troubleshooting: PostObject errors, Upload callback errors, HTTP status codes",
    "STS": "RAM help, AssumeRole",
    "OURS": "oss_wsgi itself",
}
_EC_PAGE = "https://api.aliyun.com/troubleshoot?q="


@dataclass(frozen=True)
class Explanation:
    """What a code means for this application, and what to do."""

    code: str
    meaning: str
    cure: str
    source: str

    @property
    def sources(self) -> list[str]:
        """Give the sources in full: the page, and that of an EC number."""
        number = [_EC_PAGE + self.code] if self.code[:4].isdigit() else []
        return [SOURCES[self.source], *number]


def rows(*given: tuple[str, str, str, str]) -> tuple[Explanation, ...]:
    """Make a table."""
    return tuple(Explanation(*row) for row in given)
