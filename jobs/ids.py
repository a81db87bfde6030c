"""Identifiers made by the server: a kind and a ULID, `job_01J…`. They sort by the time they were made."""

import re
from datetime import datetime
from typing import Literal, get_args

from ulid import ULID, LaxMonotonicPolicy, ULIDGenerator

Kind = Literal["job", "ckpt", "file", "hook", "dlv", "sweep"]

# Ids of one process keep their order within a millisecond too.
_GENERATOR = ULIDGenerator(policy=LaxMonotonicPolicy())
_ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
_SHAPE = re.compile(f"({'|'.join(get_args(Kind))})_{_ULID}", re.ASCII)


def new(kind: Kind, at: datetime | None = None) -> str:
    """A fresh id; `at` is the time it carries (default: this machine's clock)."""
    return f"{kind}_{_GENERATOR.generate(at)}"


def first_at(kind: Kind, at: datetime) -> str:
    """No id made at this time or later sorts before it."""
    milliseconds = max(int(at.timestamp() * 1_000), 0)
    return f"{kind}_{ULID.from_bytes(milliseconds.to_bytes(6, 'big') + bytes(10))}"


def pattern(kind: Kind) -> str:
    """What ids of this kind look like."""
    return f"{kind}_{_ULID}"


def is_id(kind: Kind, text: str) -> bool:
    """Whether we could have made this: anything else never reaches a query or a path."""
    return text.startswith(f"{kind}_") and _SHAPE.fullmatch(text) is not None
