"""The child process for light work: an order on stdin, what happens on stdout, as a trainer has it.

What the work needs is loaded when it is known which it is: of torch, an ingest needs nothing.
"""

import importlib
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jobs.endings import Ending
from jobs.kinds import LIGHT_MODES
from kd.events import Stopped
from kd.machine import imports
from worker.children.carry_out import Say, Work, live

MODES = {mode: f"worker.light.{mode}" for mode in LIGHT_MODES}
"""The module for each mode of light work: `carry_out(order, say, go_on)`, and what can go wrong, as `KNOWN`."""

# Beside a distillation it may take one core, and no GPU.
ALLOWED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ALLOWED |= {"CUDA_VISIBLE_DEVICES": ""}


class _Stop(BaseException):
    """We were asked to. No `Exception`: nobody on the way may take it for an error."""


def _load() -> Work:
    os.environ |= ALLOWED  # before libraries are loaded, which read it

    from worker.children.machine_failures import DISK, MEMORY, Known, explain, passes

    known: Sequence[Known] = (MEMORY, *DISK)

    def carry_out(order: dict[str, Any], say: Say, save_now: threading.Event) -> None:
        nonlocal known

        def go_on() -> None:
            if save_now.is_set():
                raise _Stop

        with imports.unburdened():
            mode = importlib.import_module(MODES[order["spec"]["mode"]])
        known = mode.KNOWN
        try:
            mode.carry_out(order, say, go_on)
        except _Stop:
            say(Stopped())

    def in_words(error: BaseException) -> Ending:
        return replace(explain(error, known), retryable=False)  # it is asked for anew, and not retried

    return Work(carry_out, in_words, passes)


if __name__ == "__main__":
    live(_load)
