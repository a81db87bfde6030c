"""Randomness by name: every random choice is a pure function of the run's seed and what it is for.

splitmix64 over tensors gives well-mixed bits that are the same on every device and in every version of torch.
"""

import hashlib

import torch
from torch import Tensor


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, such as `derive(seed, "order", epoch)`."""
    name = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def seed_torch(seed: int) -> None:
    """Seed torch's global generators (weights at birth, dropout).

    `torch.manual_seed` does the same but asks every backend first, which costs more than a small model's step.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def permutation(count: int, seed: int) -> torch.Tensor:
    """The numbers 0..count-1 in the order that belongs to the seed; int64 [count], on the CPU."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


# The constants of S. Vigna's splitmix64, as signed 64-bit numbers: torch multiplies int64 modulo 2^64.
INCREMENT = 0x9E3779B97F4A7C15 - (1 << 64)
FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
SECOND = 0x94D049BB133111EB - (1 << 64)


def splitmix64(state: Tensor) -> Tensor:
    """The output of splitmix64 for each int64 state, as a signed number; one-to-one."""
    mixed = state + INCREMENT
    mixed = (mixed ^ _shift_right(mixed, 30)) * FIRST
    mixed = (mixed ^ _shift_right(mixed, 27)) * SECOND
    return mixed ^ _shift_right(mixed, 31)


def below(bound: int | Tensor, mixed: Tensor) -> Tensor:
    """Mixed bits as numbers 0..bound-1."""
    return _shift_right(mixed, 1) % bound


def _shift_right(number: Tensor, bits: int) -> Tensor:
    # `>>` keeps the sign of a signed number; the mask drops it.
    return (number >> bits) & ((1 << (64 - bits)) - 1)


def seed_of_member(seed: int, number: int) -> int:
    """Of a committee whose members have one recipe each is another model all the same. The first has the run's own
    seed: it is the teacher that a run without a committee would train, and shares that one's labels."""
    return seed if number == 1 else derive(seed, "member", number)
