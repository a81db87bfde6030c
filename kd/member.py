"""One process of a run in several, as `kd.parallel.launch` starts it: `torchrun … -m kd.member ORDER`.

It dies with whoever started it: its stdin is a lifeline. A line on it asks the first of the team to save.
"""

import contextlib
import json
import os
import select
import sys
import threading
from pathlib import Path

import torch.distributed as dist

from kd import spec
from kd.run import run


def main(order_file: str) -> int:
    """Take part in the run that the order describes; the first of us says what happens."""
    leads, save_now = os.environ["RANK"] == "0", threading.Event()
    threading.Thread(target=_mind_the_caller, args=(save_now if leads else None,), daemon=True).start()
    # Only the first one speaks, and what libraries print is not an event.
    voice = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.loads(Path(order_file).read_text())
    try:
        for event in run(spec.parse(json.dumps(order["spec"])), **order["options"], save_now=save_now):
            if leads:
                voice.write(event.model_dump_json() + "\n")
                voice.flush()
    except Exception as error:
        # Whoever fails first has the reason; the others only miss it.
        if not misses_another(error):
            facts = {"kind": type(error).__name__, "message": str(error), "errno": getattr(error, "errno", None)}
            with contextlib.suppress(FileExistsError), open(order["failure"], "x") as failure:
                json.dump(facts, failure)
        raise
    if not leads:
        threading.Event().wait()  # who leaves early may take words with it that the others have not read yet
    return 0


def misses_another(error: Exception) -> bool:
    """Whether it is only that another process of the team is gone."""
    words = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def _mind_the_caller(save_now: threading.Event | None) -> None:
    """Pass on that it wants us to save, and die with it. All of the team have the same stdin: only one may read it."""
    if save_now is not None:
        while os.read(0, 1024):
            save_now.set()
    else:
        hangup = select.poll()
        hangup.register(0, 0)
        hangup.poll()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
