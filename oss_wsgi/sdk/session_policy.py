"""The least right that signing uploads needs, as the session policy of an assumed role."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..exceptions import SettingsError
from ..settings import Settings

#: All that an upload by form needs (P§13.1).
PUT = "oss:PutObject"
_MAX_CHARACTERS = 1024
# In a resource they stand for other names.
_WILDCARDS = frozenset("*?")


def session_policy(settings: Settings, dirs: Sequence[str] | None = None, actions: Sequence[str] = (PUT,)) -> str:
    """Give the policy, JSON, that allows ``actions`` on ``<bucket>/<dir>*`` and nothing else.

    ``dirs`` are the prefixes that grants may name, each ending in ``/``; None is the settings' ``upload_dir`` alone.

    Raises SettingsError where the settings name no bucket, or a prefix would allow more than itself.
    """
    bucket, _ = settings.place()
    prefixes = (settings.upload_dir,) if dirs is None else tuple(dirs)
    if isinstance(dirs, str) or not prefixes:
        raise SettingsError("dirs must list at least one prefix, such as ['users/'].")
    for prefix in prefixes:
        if _WILDCARDS & set(prefix) or "${" in prefix:
            raise SettingsError(f"The prefix {prefix!r} stands for others too in a session policy: use another.")
        if prefix and not prefix.endswith("/"):
            raise SettingsError(f"The prefix {prefix!r} must end in '/'.")
    resources = [f"acs:oss:*:*:{bucket}/{prefix}*" for prefix in prefixes]
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resources}
    text = json.dumps({"Version": "1", "Statement": [statement]}, separators=(",", ":"))
    if len(text) > _MAX_CHARACTERS:
        raise SettingsError(f"The session policy has {len(text)} characters, of which STS takes {_MAX_CHARACTERS}.")
    return text
