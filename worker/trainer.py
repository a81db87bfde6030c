"""The child process that trains: an order on stdin, `for event in run(...)`: one JSON line each on stdout.

It has no database credentials and dies with its parent. It loads torch before it reads its order, so that a
trainer can be kept warm: started early, waiting. Asked to stop, it saves where it stands and ends.
"""

import threading
from typing import Any

from kd.events import Event, Saved, Started, Step, Stopped, Waiting
from kd.spec import parse
from worker.children.carry_out import Say, Work, live


def _load() -> Work:
    from kd.run import run
    from worker.children.failures import explain
    from worker.children.machine_failures import passes

    def train(order: dict[str, Any], say: Say, save_now: threading.Event) -> None:
        for event in run(
            parse(order["spec"], accepted=True),
            out=order["out"],
            resume=order["resume"],
            data_folder=order["data_folder"],
            label_folder=order["label_folder"],
            resume_sha256=order["resume_sha256"],
            teacher_files=order["teacher_files"],
            label_cache_bytes=order["label_cache_bytes"],
            save_now=save_now,
        ):
            say(event)
            if save_now.is_set() and loses_nothing_after(event, order["spec"]["mode"]):
                say(Stopped())
                return

    return Work(train, explain, passes)


def loses_nothing_after(event: Event, mode: str) -> bool:
    """Whether a run that ends after this event will go on from here: it has just saved, or just begun, or it writes a
    label table, which keeps by itself what is in it. (The labels of a round of `guide` are kept nowhere.)"""
    if isinstance(event, Saved):
        return event.phase != "evaluating"  # the report is all that is missing: let it finish
    labels = isinstance(event, Step) and event.phase == "labelling" and mode == "train"
    return labels or isinstance(event, Started | Waiting)


if __name__ == "__main__":
    live(_load)
