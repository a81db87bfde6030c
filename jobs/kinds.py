"""The kinds of work that wait in the queue: distillations, and light work, which never waits behind one."""

from enum import StrEnum

LIGHT_MODES = ("ingest", "evaluate", "export")
"""What takes one core and no GPU: minutes, or for a large teacher some more. All other modes are those of
distillations."""


class Kind(StrEnum):
    """Each worker has a slot of its own for either, and so does one of each at a time."""

    DISTILLATION = "distillation"
    LIGHT = "light"


def of(mode: str) -> Kind:
    return Kind.LIGHT if mode in LIGHT_MODES else Kind.DISTILLATION
