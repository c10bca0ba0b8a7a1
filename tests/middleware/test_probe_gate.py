"""Proofs of probes: good once, now, and with the secret alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from oss_wsgi.middleware.probe import WINDOW, ProbeGate, prove, target_digest
from oss_wsgi.testing import FrozenClock

SECRET = "a-secret-of-thirty-two-characters"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def gate(clock: FrozenClock) -> ProbeGate:
    return ProbeGate([SECRET, "o" * 32], clock=clock)


def test_each_secret_proves_and_each_proof_counts_once(gate: ProbeGate, clock: FrozenClock) -> None:
    for secret in (SECRET, "o" * 32):
        proof = prove(secret, clock.now)
        assert gate.takes(proof)
        assert not gate.takes(proof), "a replay"


def test_the_proof_does_not_hold_the_secret_and_is_never_the_same(clock: FrozenClock) -> None:
    first, second = prove(SECRET, clock.now), prove(SECRET, clock.now)
    assert SECRET not in first
    assert first != second


@pytest.mark.parametrize("apart", [-WINDOW - 1, WINDOW + 1])
def test_outside_its_window_it_is_refused(apart: int, gate: ProbeGate, clock: FrozenClock) -> None:
    assert not gate.takes(prove(SECRET, clock.now + apart))


@pytest.mark.parametrize("apart", [-WINDOW, 0, WINDOW])
def test_within_it_is_taken_and_never_twice(apart: int, gate: ProbeGate, clock: FrozenClock) -> None:
    proof = prove(SECRET, clock.now + apart)
    assert gate.takes(proof)
    for _ in range(3 * WINDOW):
        clock.advance(1)
        assert not gate.takes(proof)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda proof: proof[:-1] + ("0" if proof[-1] != "0" else "1"), id="the code"),
        pytest.param(lambda proof: proof.replace("1.", "1.1", 1), id="the time"),
        pytest.param(lambda proof: proof[:20] + ("0" if proof[20] != "0" else "1") + proof[21:], id="the nonce"),
        pytest.param(lambda proof: proof.upper(), id="the case"),
        pytest.param(lambda proof: f"{proof} ", id="a blank"),
        pytest.param(lambda proof: f"{proof},{proof}", id="twice"),
        pytest.param(lambda proof: proof.replace("1.", "\u0661.", 1), id="another one"),
        pytest.param(lambda proof: "", id="nothing"),
    ],
)
def test_a_changed_proof_is_none(change: object, gate: ProbeGate, clock: FrozenClock) -> None:
    assert not gate.takes(change(prove(SECRET, clock.now)))  # type: ignore[operator]


def test_another_secret_is_refused(gate: ProbeGate, clock: FrozenClock) -> None:
    assert not gate.takes(prove("x" * 32, clock.now))


def test_a_flood_is_refused_and_the_memory_stays_small(gate: ProbeGate, clock: FrozenClock) -> None:
    taken = [gate.takes(prove(SECRET, clock.now)) for _ in range(1100)]
    assert taken.count(True) == 1000
    clock.advance(WINDOW + 1)
    assert gate.takes(prove(SECRET, clock.now)), "what is past its window is forgotten"


def test_of_many_at_once_one_is_taken(gate: ProbeGate, clock: FrozenClock) -> None:
    proof = prove(SECRET, clock.now)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(gate.takes, [proof] * 100)).count(True) == 1


def test_targets_of_which_the_same_is_signed_have_one_digest() -> None:
    assert target_digest(b"/a%2Fb?c=%20") == target_digest(b"/a/b?c=%20")
    assert target_digest(b"/a/b?c=%20") != target_digest(b"/a/b?c= ")
    assert target_digest(b"/a/b") != target_digest(b"/a/b/")
