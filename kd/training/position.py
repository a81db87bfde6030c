"""Where a run stands."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Position:
    """Where a run stands. `step` counts optimizer steps, labelling batches and finished phases of the whole run."""

    step: int = 0
    phase: str = ""
    dataset: str = ""  # its digest
    finished: dict[str, Any] = field(default_factory=dict)  # phase -> what came of it
    current: dict[str, Any] | None = None  # the loop under way: weights, optimizer, epoch, batch
    seconds: dict[str, float] = field(default_factory=dict)  # phase -> time spent, over all attempts
