"""Many processes use the cache of label tables at once, and some of them are killed at any point."""

import os
import subprocess
import sys


def in_processes(script: str, *arguments: object) -> None:
    """Run a script that forks: in a process of its own, without pytest's threads."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    prelude = "import os, random, signal, sys, time\nfrom pathlib import Path\n"
    subprocess.run([sys.executable, "-c", prelude + script, *map(str, arguments)], check=True, env=environment)


def test_a_lock_has_one_holder_even_if_holders_delete_its_file(tmp_path):
    in_processes(
        """
from kd import locks
from kd.labels import cache

folder = Path(sys.argv[1])

def turns():
    return (folder / "held").stat().st_size

(folder / "held").touch()

def play():
    while turns() < 400:
        with locks.try_lock(folder / "x.npy") as mine:
            if mine:
                os.mkdir(folder / "inside")  # fails if somebody else is inside
                with open(folder / "held", "a") as held:
                    held.write("x")
                os.rmdir(folder / "inside")
                os.unlink(folder / "x.lock")

players = []
for _ in range(4):
    player = os.fork()
    if player == 0:
        play()
        os._exit(0)
    players.append(player)
assert [os.waitpid(player, 0)[1] for player in players] == [0] * 4
""",
        tmp_path,
    )


def test_processes_that_write_read_evict_and_delete_at_once_never_see_a_wrong_table(tmp_path):
    """Some of them are killed, at any point."""
    in_processes(
        """
import numpy as np
from kd import locks
from kd.labels import cache
from kd.labels import table as tables
from kd.labels.cache import NoSuchTable, TableBusy

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
cache.DRAFT_SECONDS = 0.05
FACTS = {"teacher": "t", "dataset": "d", "plan": {}, "precision": "p"}
SHAPE = (2000, 2, 3)

def write(path, number):
    with tables.try_to_write(path) as alone:
        if alone and tables.read(path) is None:
            cache.make_room(folder, path.stem, 48_000, limit)
            table, kept = tables.open_draft(path, SHAPE)
            safe = kept.count
            table[:] = number
            tables.keep(path, table, kept, 2000)
            tables.finish(path, table, kept, FACTS, np.full((2000, 2, 1), number, np.int32), ["top"])

def read(path, number):
    table = tables.read(path)
    if table is not None:
        time.sleep(random.random() / 100)
        assert (table == number).all()

def delete(path, number):
    try:
        cache.remove(folder, path.stem)
    except (NoSuchTable, TableBusy):
        pass

def look(path, number):
    for entry in cache.entries(folder):
        assert entry.manifest is None or entry.manifest.shape == SHAPE

def play(seed):
    random.seed(seed)
    while True:
        number = random.randrange(1, 7)
        action = random.choice([write, write, write, read, read, delete, look])
        action(folder / f"{number:032x}.npy", number)

def start(seed):
    player = os.fork()
    if player == 0:
        try:
            play(seed)
        except BaseException:
            import traceback; traceback.print_exc()
        os._exit(1)
    return player

seed, players = 4, [start(number) for number in range(4)]
for _ in range(50):
    time.sleep(random.random() / 10)
    victim = players.pop(0)
    assert os.waitpid(victim, os.WNOHANG) == (0, 0), "it had failed by itself"
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    players.append(start(seed := seed + 1))
for player in players:
    assert os.waitpid(player, os.WNOHANG) == (0, 0), "it had failed by itself"
    os.kill(player, signal.SIGKILL)
    os.waitpid(player, 0)

time.sleep(0.1)
# Two who looked for room at the same moment may both have found it: the next who writes makes it good.
delete(folder / f"{1:032x}.npy", 1)
for number in range(1, 7):
    write(folder / f"{number:032x}.npy", number)
    read(folder / f"{number:032x}.npy", number)
assert sum(entry.bytes for entry in cache.entries(folder)) <= limit + 2_000
assert not list(folder.glob("*.draft"))
""",
        tmp_path,
        200_000,
    )
