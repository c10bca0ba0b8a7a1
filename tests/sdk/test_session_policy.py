"""The session policy: the least right, and no prefix that allows more than itself."""

from __future__ import annotations

import json

import pytest

from oss_wsgi import Settings
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.sdk.credentials import session_policy

SETTINGS = Settings(bucket="examplebucket", region="cn-hangzhou")


def test_it_allows_putting_objects_below_the_upload_dir_and_nothing_else() -> None:
    assert json.loads(session_policy(SETTINGS)) == {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["oss:PutObject"],
                "Resource": ["acs:oss:*:*:examplebucket/user-dir-prefix/*"],
            }
        ],
    }


def test_further_prefixes_and_actions_are_named() -> None:
    policy = json.loads(session_policy(SETTINGS, ["users/", "上传/"], ["oss:PutObject", "oss:GetObject"]))
    (statement,) = policy["Statement"]
    assert statement["Resource"] == ["acs:oss:*:*:examplebucket/users/*", "acs:oss:*:*:examplebucket/上传/*"]
    assert statement["Action"] == ["oss:PutObject", "oss:GetObject"]


def test_without_a_prefix_it_is_the_bucket() -> None:
    settings = Settings(bucket="examplebucket", region="cn-hangzhou", upload_dir="")
    assert "acs:oss:*:*:examplebucket/*" in session_policy(settings)


@pytest.mark.parametrize(
    ("dirs", "said"),
    [
        (["us?rs/"], "stands for others"),
        (["*/"], "stands for others"),
        (["${oss:x}/"], "stands for others"),
        (["users"], "end in '/'"),
        ([], "at least one"),
        ("users/", "at least one"),
        ([f"{'x' * 200}{number}/" for number in range(5)], "of which STS takes 1024"),
    ],
)
def test_what_would_allow_more_or_cannot_be_sent_is_refused(dirs: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        session_policy(SETTINGS, dirs)


def test_without_a_bucket_there_is_none() -> None:
    with pytest.raises(SettingsError, match="OSS_BUCKET"):
        session_policy(Settings())
