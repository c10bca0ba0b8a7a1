"""The policy as text: the same bytes as PostPolicy gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.signing import policy, policy_text
from oss_wsgi.signing.policy import PostPolicy

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    texts=st.lists(TEXT, min_size=4, max_size=4),
    types=st.lists(TEXT, min_size=1, max_size=3),
    low=st.integers(0, 99),
    expiration=st.integers(0, 4102444800),
)
def test_both_give_the_same_bytes(texts: list[str], types: list[str], low: int, expiration: int) -> None:
    plain, quick = (
        [
            room.exactly("bucket", texts[0]),
            room.eq("key", texts[1]),
            room.starts_with("key", texts[2]),
            room.one_of("content-type", types),
            room.exactly("x-oss-meta-a", texts[3]),
            room.content_length_range(low, low + 1),
        ]
        for room in (policy, policy_text)
    )
    assert policy_text.encode(expiration, quick) == PostPolicy(expiration, plain).encode()  # type: ignore[arg-type]
