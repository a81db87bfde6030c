"""The GPUs that trainers of this process can use. torch says which, in a child: the worker itself never loads it."""

import json
import os
import subprocess
import sys

from kd.machine.driver import ask_driver

# To load torch and to wake many GPUs takes seconds; this ends what hangs.
ANSWER_SECONDS = 300.0


def usable_gpus() -> tuple[tuple[str, ...], str | None]:
    """The name of each, and why there are no more, if the driver shows some that torch cannot use.

    Without a driver there is nothing to ask torch.
    """
    driver = ask_driver()
    if driver is None or not (driver.gpus or driver.trouble):
        return (), None
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "kd.machine.device"],
            env={name: value for name, value in os.environ.items() if not name.startswith("STILLHOUSE_")}
            | {"PYTHONSAFEPATH": "1"},
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=True,
        )
        told = json.loads(answer.stdout)
        return tuple(told["names"]), told["trouble"]
    except subprocess.CalledProcessError as error:
        why = error.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {error.returncode}"
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        why = str(error)
    return (), f"torch does not say which GPUs it can use: {why}"
