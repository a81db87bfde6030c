"""Randomness by name: every random choice is a pure function of the run's seed and what it is for."""

import hashlib

import torch


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
