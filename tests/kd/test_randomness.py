"""Randomness as a pure function of whole numbers: the published mixing, in tensors."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from kd.randomness import below, splitmix64


def plain_splitmix64(state: int) -> int:
    """As published by S. Vigna, in unsigned numbers."""
    mixed = (state + 0x9E3779B97F4A7C15) % 2**64
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
    return mixed ^ mixed >> 31


@given(st.integers(-(2**63), 2**63 - 1))
def test_splitmix_over_tensors_is_the_published_one(state):
    assert splitmix64(torch.tensor([state])).item() % 2**64 == plain_splitmix64(state % 2**64)


def test_splitmix_gives_the_published_sequence():
    # The first outputs of the reference implementation, seeded with 1234567; its state grows by the increment.
    states = [1234567 + step * 0x9E3779B97F4A7C15 for step in range(3)]

    outputs = [plain_splitmix64(state) for state in states]

    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(1, 10_000), st.integers(-(2**63), 2**63 - 1))
def test_mixed_bits_become_numbers_below_a_bound(bound, mixed):
    assert 0 <= below(bound, torch.tensor([mixed])).item() < bound
