"""Spoilt files for the readers of what people bring, one after the other, in processes that may die of them.

    python -m tests.attack.readers --minutes 10 [--seed 7] [--keep FOLDER]

Each file is an archive, Parquet or safetensors that was right before it was harmed, or whose insides were; it depends
on its number alone. A reader takes it or refuses it in words (`KdError`). Everything else has escaped: another error,
a process that ended, one that took long or much memory, a file outside of its folder. What escaped is kept.
"""

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Outcomes = Counter[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "stillhouse-escapes")
    options = parser.parse_args()
    ends_at = time.monotonic() + options.minutes * 60
    print(f"seed {options.seed}: {options.minutes:g} minutes of spoilt files", flush=True)
    outcomes, escapes = attack(options.seed, options.keep, lambda files: time.monotonic() < ends_at)
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:12} {outcome:8} {count:>7,}")
    print(f"{sum(outcomes.values()):,} files, {len(escapes)} escaped")
    sys.exit("\n".join(escapes) or 0)


def attack(seed: int, keep: Path, goes_on: Callable[[int], bool]) -> tuple[Outcomes, list[str]]:
    """Read spoilt files, one number after the other, for as long as `goes_on(files so far)`: how many were taken or
    refused, by their kinds, and what has escaped."""
    outcomes, escapes, number = Outcomes(), list[str](), seed * 1_000_000
    while goes_on(sum(outcomes.values())):
        with tempfile.TemporaryDirectory(prefix="stillhouse-readers-") as place:
            reader = Reader(Path(place), number)
            escaped = None
            while escaped is None and goes_on(sum(outcomes.values())):
                said = reader.read_one()
                outcomes[said["kind"], said["outcome"]] += 1
                escaped = said["escaped"]
                if escaped is not None:
                    escapes.append(f"{number}: {escaped}")
                    reader.keep(keep, number)
                number += 1
            reader.end()
    return outcomes, escapes


class Reader:
    """A process that reads one file after the other."""

    def __init__(self, place: Path, number: int):
        self._place = place
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.readers_child", str(place), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read_one(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        if line := self._process.stdout.readline():
            said: dict[str, Any] = json.loads(line)
            return said
        kind = next((file.suffix[1:] for file in self._place.glob("bad.*")), "none")
        return {"kind": kind, "outcome": "escaped", "escaped": f"its process ended with {self._process.wait()}"}

    def keep(self, folder: Path, number: int) -> None:
        """The file that escaped, if it is still there."""
        for file in self._place.glob("bad.*"):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / f"{number}{file.suffix}")

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    main()
