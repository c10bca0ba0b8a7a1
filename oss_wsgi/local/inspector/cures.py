"""Why a callback failed and what to do, by EC: the sentences of `oss-wsgi explain`.

They stand here a second time because the local OSS shares no code with what it checks; a test compares them.
"""

from __future__ import annotations

_DOCTOR = "Run `oss-wsgi doctor --only callback` from outside your network."

#: EC -> meaning and cure.
CURES = {
    "0007-00000203": (
        "The application did not answer 200, or could not be reached; the file is stored.",
        "`Error status : 403`: read the reason and the fix in the application's log. `502`: check TLS and SNI. `-1`: "
        f"no connection, or no answer within 5 seconds. {_DOCTOR}",
    ),
    "0007-00000205": (
        "The application's answer is not JSON; the file is stored.",
        "Answer JSON without a BOM, and check that no proxy replaces the answer with a page of its own.",
    ),
}
