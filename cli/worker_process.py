"""The worker that `kd serve` keeps: started, started again when it dies, and gone when the server is.

Its stdin is a lifeline. However the server ends, kill -9 included, the kernel closes the pipe, and the worker
puts its job back into the queue and ends.
"""

import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

from kd.machine import child

# Waits between a death and the next start; a worker that lived for a while begins at the first again.
PAUSES_SECONDS = (1, 2, 5, 15, 30)
HEALTHY_SECONDS = 60
# A worker that drains lets its trainer save, puts the job back, and says good-bye.
DRAIN_SECONDS = 25


class WorkerProcess:
    """A context in which a worker runs."""

    def __enter__(self) -> Self:
        self._leaving = threading.Event()
        self._process: subprocess.Popen[bytes] | None = self._start()
        self._keeper = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._keeper.join()

    def _keep(self) -> None:
        deaths, why = 0, ""
        while True:
            began = time.monotonic()
            if self._process is not None:
                if self._outlives_us(self._process):
                    return
                why = f"The worker ended ({how_it_ended(self._process.returncode)})"
            deaths = 1 if time.monotonic() - began > HEALTHY_SECONDS else deaths + 1
            pause = PAUSES_SECONDS[min(deaths, len(PAUSES_SECONDS)) - 1]
            print(f"{why}; starting another in {pause} s.", file=sys.stderr, flush=True)
            if self._leaving.wait(pause):
                return
            try:
                self._process = self._start()
            except (OSError, RuntimeError) as error:  # no process, no file, no memory to be had now
                self._process, why = None, f"No worker could be started ({error})"

    def _outlives_us(self, process: subprocess.Popen[bytes]) -> bool:
        """Until the worker is dead, or we leave and see it out: was it the latter?"""
        while process.poll() is None:
            if self._leaving.wait(0.2):
                _see_out(process)
                return True
        return False

    def _start(self) -> subprocess.Popen[bytes]:
        return child.start("worker.loop", "--lifeline", listen=False)


def _see_out(process: subprocess.Popen[bytes]) -> None:
    child.let_go(process)
    try:
        process.wait(DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def how_it_ended(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
