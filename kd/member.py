"""One process of a run in several, as `kd.parallel.launch` starts it: `torchrun … -m kd.member ORDER`.

It dies with whoever started it, like any child of ours. Its order is in a file: the whole team has the same stdin.
"""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path

from kd import liveness
from kd.events import Advanced, Event
from kd.machine import imports
from kd.machine.child import Lifeline, take_stdout


def main(order_file: str) -> int:
    """Take part in the run that the order describes; the first of us says what happens."""
    leads = os.environ["RANK"] == "0"
    lifeline, messages = Lifeline(reads=leads), take_stdout()
    with imports.unburdened():  # to load torch takes seconds: the lifeline is minded by now
        from kd import spec
        from kd.models.own import files
        from kd.run import run

    order = json.loads(Path(order_file).read_text())

    def say(event: Event) -> None:
        if leads:
            lifeline.say(messages, event.model_dump_json())

    try:
        models = files.registered([Path(file) for file in order["models"]])
        with liveness.reported(lambda: say(Advanced())), models:
            for event in run(
                spec.parse(json.dumps(order["spec"]), accepted=True), **order["options"], save_now=lifeline.save_now
            ):
                say(event)
    except Exception as error:
        # Whoever fails first has the reason; the others only miss it.
        if not is_of_another(error):
            facts = {"kind": type(error).__name__, "message": str(error), "errno": getattr(error, "errno", None)}
            with contextlib.suppress(FileExistsError), open(order["failure"], "x") as failure:
                json.dump(facts, failure)
        raise
    if not leads:
        threading.Event().wait()  # who leaves early may take words with it that the others have not read yet
    return 0


def is_of_another(error: Exception) -> bool:
    """Whether it says no more than that another process of the team is gone."""
    import torch.distributed as dist

    words = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
