"""splitmix64 over tensors: well-mixed bits that are the same on every device and in every version of torch."""

from torch import Tensor

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


def below(bound: int, mixed: Tensor) -> Tensor:
    """Mixed bits as numbers 0..bound-1."""
    return _shift_right(mixed, 1) % bound


def _shift_right(number: Tensor, bits: int) -> Tensor:
    # `>>` keeps the sign of a signed number; the mask drops it.
    return (number >> bits) & ((1 << (64 - bits)) - 1)
