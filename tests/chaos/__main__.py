"""Ten minutes of chaos and a verdict: `python -m tests.chaos --deployment embedded --minutes 10 --seed 1`."""

import argparse
import contextlib
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from types import FrameType

from tests.chaos.audience import Audience
from tests.chaos.faults import spared
from tests.chaos.storm import Storm
from tests.chaos.users import Users
from tests.chaos.verdict import Verdict, evidence, judge, references, was_told_all
from tests.chaos.world import World
from tests.support.deployed import KINDS
from tests.support.receiving import Receiver

USERS = 6
# Ends undisturbed runs that hang.
PEACE_SECONDS = 900.0
# The last jobs may take so many times as long as those before the storm did, but this at least.
LAST_JOBS, LAST_JOBS_SECONDS = 8, 120.0
# A server that died with a message in hand leaves it to the others for a minute; this at least, as above.
LAST_MESSAGES_SECONDS = 180.0
# A shorter storm may not come to every kind of fault.
ALL_KINDS_MINUTES = 5.0
KINDS_OF_PROBLEMS = ("lost", "doubled", "stuck", "other problems")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--deployment", choices=KINDS, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="of an earlier run, to see the same faults in the same order")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--only", default="", help="faults with one of these words in their names: 'flip clock'")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts its background jobs deaf to the first
        signal.signal(number, _leave)

    folder = Path(tempfile.mkdtemp(prefix=f"stillhouse-chaos-{given.deployment}-"))
    print(
        f"seed {seed}: {given.minutes:g} minutes of chaos, {given.deployment}, {given.workers} workers, {folder}",
        flush=True,
    )
    good = False
    try:
        good = _run(given.deployment, folder, given.minutes, seed, given.workers, given.only)
    except KeyboardInterrupt as interrupt:
        print(f"interrupted by {interrupt}")
    finally:
        if good:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"Every log and file is in {folder}; again: --seed {seed}")
    return 0 if good else 1


def _run(kind: str, folder: Path, minutes: float, seed: int, workers: int, only: str) -> bool:
    with Receiver().listening() as receiver, _there(World(kind, folder, workers)) as world:
        world.start()
        began = time.monotonic()
        expected = references(world, PEACE_SECONDS)
        before = {job["id"] for job in world.deployment.client.list()}
        peace = time.monotonic() - began
        print(f"{len(expected)} runs in peace took {peace:.0f} s; now the storm", flush=True)
        for name, why in spared(world).items():
            print(f"Nobody will {name}: {why}.")

        began = time.monotonic()

        def say(text: str) -> None:
            print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

        users = Users(world.deployment.url, seed, say, world.specs)
        audience = Audience(world.deployment.url, seed, users, receiver, lambda: world.clocks_were_stepped)
        storm = Storm(world, users, Random(f"{seed} storm"), say, only)
        try:
            users.hire(USERS)
            audience.come()
            storm.blow(minutes * 60)
            say("the storm is over")
            users.close(max(LAST_JOBS * peace, LAST_JOBS_SECONDS), meanwhile=world.tend)
            say("the users have gone home")
            last_messages = max(LAST_JOBS * peace, LAST_MESSAGES_SECONDS)
            audience.close(last_messages, partial(was_told_all, world, before), meanwhile=world.tend)
            say("the audience has gone home")
        finally:
            users.go_home()
            audience.go_home()
        verdict = judge(world, users, audience, expected, before)
        if missed := [name for name, count in storm.injected.items() if not count]:
            if minutes >= ALL_KINDS_MINUTES:
                verdict.problems += [f"never injected: {name}" for name in missed]
            else:
                print(f"In so short a time it never came to: {', '.join(missed)}.")
        if storm.injected.get("fill the disk") and not verdict.failures["disk_full"]:
            verdict.problems.append("the disk was full, and no job failed of it")
        _print(verdict, storm, audience)
        if verdict.problems:
            (folder / "evidence.json").write_text(json.dumps(evidence(world, verdict), indent=1))
            world.keep_data()
    if left := world.leftovers():
        print(f"PROBLEM processes are left over: {left}")
    return not (verdict.problems or left)


@contextlib.contextmanager
def _there(world: World) -> Iterator[World]:
    try:
        yield world
    except BaseException:
        world.keep_data()
        raise
    finally:
        world.close()


def _print(verdict: Verdict, storm: Storm, audience: Audience) -> None:
    rescues = verdict.rescue_seconds
    rows = {
        "jobs": f"{verdict.endings.total()}: {_counted(verdict.endings)}",
        "failed of": _counted(verdict.failures) or "nothing",
        "attempts": f"{verdict.attempts}, of which {verdict.resumes} went on past step 0",
        "rescues": f"{len(rescues)}; from a worker's last word on: median {median(rescues or [0]):.1f} s, "
        f"longest {max(rescues, default=0):.1f} s",
        "streams": f"{len(audience.followed)} followed to the end, {sum(map(len, audience.followed.values()))} events",
        "webhook": f"{sum(map(len, audience.told.values()))} messages, {audience.told_again} of them more than once",
        "faults": str(storm.injected.total()),
        **{f"  {name}": str(count) for name, count in sorted(storm.injected.items())},
    }
    kinds = Counter(_kind(problem) for problem in verdict.problems)
    rows |= {kind: str(kinds[kind]) for kind in KINDS_OF_PROBLEMS}
    width = max(map(len, rows))
    print("\n" + "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()) + "\n")
    for problem in verdict.problems:
        print(f"PROBLEM {problem}", flush=True)


def _kind(problem: str) -> str:
    return next((kind for kind in KINDS_OF_PROBLEMS if f"{kind}: " in problem), KINDS_OF_PROBLEMS[-1])


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common())


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
