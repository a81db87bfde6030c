"""The child process for light work: an order on stdin, what happens on stdout, as a trainer has it.

What the work needs is loaded when it is known which it is: of torch, an ingest needs nothing.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any

from kd.events import Stopped
from worker.children.carry_out import Say, Work, live

# Beside a distillation one core is what it may take.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class _Stop(BaseException):
    """We were asked to. No `Exception`: nobody on the way may take it for an error."""


def _load() -> Work:
    os.environ |= ONE_THREAD  # before numpy is loaded, which reads it

    from worker.children.machine_failures import DISK, MEMORY, Known, explain, passes

    known: Sequence[Known] = (MEMORY, *DISK)

    def carry_out(order: dict[str, Any], say: Say, save_now: threading.Event) -> None:
        nonlocal known

        def go_on() -> None:
            if save_now.is_set():
                raise _Stop

        if order["spec"]["mode"] == "ingest":
            from worker.light import ingest

            do, known = ingest.ingest, ingest.KNOWN
        else:
            from worker.light import evaluate

            do, known = evaluate.evaluate, evaluate.KNOWN
        try:
            do(order, say, go_on)
        except _Stop:
            say(Stopped())

    return Work(carry_out, lambda error: explain(error, known), passes)


if __name__ == "__main__":
    live(_load)
