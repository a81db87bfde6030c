"""Label tables on disk: what is read is what was written, whatever happened in between."""

import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kd.labels import table
from kd.labels.table import Table

SHAPE, COLUMNS = (50, 4, 3), ("top", "left", "flip")
LABELS_NVC = np.arange(600, dtype=np.float16).reshape(SHAPE)
FACTS = {"teacher": "t", "dataset": "d", "plan": {}, "precision": "p"}
VIEWS_NVP = np.arange(600, dtype=np.int32).reshape(SHAPE)


def write(path: Path) -> None:
    table_NVC, kept = table.open_draft(path, SHAPE)
    table_NVC[:] = LABELS_NVC
    table.finish(path, table_NVC, kept, FACTS, VIEWS_NVP, COLUMNS)


def is_right(table_NVC: Table | None) -> bool:
    return table_NVC is not None and bool((table_NVC == LABELS_NVC).all())


def test_a_finished_table_is_three_files_that_numpy_and_people_can_read(tmp_path):
    path = tmp_path / "table.npy"
    write(path)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["table.json", "table.npy", "table.views.npy"]
    assert is_right(table.read(path))
    assert is_right(np.load(path))
    views_NVP = np.load(tmp_path / "table.views.npy")
    assert views_NVP.dtype == np.int32
    assert (views_NVP == VIEWS_NVP).all()
    manifest = json.loads((tmp_path / "table.json").read_text())
    assert (manifest["teacher"], manifest["shape"], manifest["dtype"]) == ("t", [50, 4, 3], "float16")
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    views = (tmp_path / "table.views.npy").read_bytes()
    assert manifest["view_parameters"] == {
        "columns": ["top", "left", "flip"], "dtype": "int32", "sha256": hashlib.sha256(views).hexdigest(),
    }  # fmt: skip


def test_what_a_reader_writes_stays_with_it(tmp_path):
    path = tmp_path / "table.npy"
    write(path)

    table_NVC = table.read(path)
    assert table_NVC is not None
    table_NVC[:] = 0

    assert is_right(table.read(path))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda path: os.truncate(path, 200),
        lambda path: os.truncate(path, 0),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").unlink(),
        lambda path: path.with_suffix(".json").write_text("{}"),
        lambda path: path.with_suffix(".json").write_text("[1]"),
        lambda path: path.with_suffix(".json").write_text("\udce9", errors="surrogateescape"),
    ],
)
def test_a_damaged_table_is_as_good_as_none_and_is_written_anew(tmp_path, damage):
    path = tmp_path / "table.npy"
    write(path)
    damage(path)

    assert table.read(path) is None
    assert table.open_draft(path, SHAPE)[1].count == 0
    assert [file.name for file in tmp_path.iterdir()] == ["table.draft"]
    write(path)
    assert is_right(table.read(path))


@pytest.mark.parametrize(("flipped", "safe"), [("label that is safe", 0), ("label that is not", 150)])
def test_a_draft_of_which_a_bit_was_flipped_is_begun_anew(tmp_path, flipped, safe):
    path = tmp_path / "table.npy"
    table_NVC, kept = table.open_draft(path, SHAPE)
    table_NVC[:] = LABELS_NVC
    table.keep(path, table_NVC, kept, 100)
    table.keep(path, table_NVC, kept, 150)

    table_NVC.view(np.uint16)[0 if flipped == "label that is safe" else -1, 2, 1] ^= 1
    again_NVC, kept = table.open_draft(path, SHAPE)

    assert kept.count == safe
    assert bool(again_NVC[:25].any()) is bool(safe), "what is not as it was written is not in the next one either"


def test_a_disk_that_is_full_is_an_error_and_not_a_draft(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            table.open_draft(tmp_path / "table.npy", (1000, 100, 10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from kd.labels import table as tables

SHAPE = (50, 4, 3)
LABELS = np.arange(600, dtype=np.float16).reshape(SHAPE)
VIEWS = np.arange(600, dtype=np.int32).reshape(SHAPE)

def label(path):
    "Labels written, as a run writes them; how many were safe."
    with tables.try_to_write(path) as alone:
        assert alone
        done = tables.read(path)
        if done is not None:
            return 200
        table, kept = tables.open_draft(path, SHAPE)
        safe = kept.count
        table.reshape(200, 3)[safe:100] = LABELS.reshape(200, 3)[safe:100]
        tables.keep(path, table, kept, 100)
        table.reshape(200, 3)[max(safe, 100):] = LABELS.reshape(200, 3)[max(safe, 100):]
        facts = {"teacher": "t", "dataset": "d", "plan": {}, "precision": "p"}
        tables.finish(path, table, kept, facts, VIEWS, ["top", "left", "flip"])
        return safe

def die_at(number):
    def hook(event, _):
        nonlocal number
        if event == "open" or event.startswith("os."):
            number -= 1
            if number == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

number, safe, killed = 0, [], True
while killed:
    number += 1
    path = Path(sys.argv[1]) / str(number) / "table.npy"
    child = os.fork()
    if child == 0:
        die_at(number)
        label(path)
        os._exit(0)
    killed = os.waitpid(child, 0)[1] != 0
    before = tables.read(path)
    assert before is None or (before == LABELS).all()
    safe.append(label(path))
    after = tables.read(path)
    assert after is not None and (after == LABELS).all()
    assert (np.load(path.with_suffix(".views.npy")) == VIEWS).all()
    left = sorted(file.name for file in path.parent.iterdir() if not file.name.endswith((".lock", ".count")))
    assert left == ["table.json", "table.npy", "table.views.npy"], left
assert number > 20, number
assert safe == sorted(safe) and set(safe) == {0, 100, 200}, safe
"""


def test_killed_at_any_step_nothing_safe_is_lost_and_nothing_wrong_is_read(tmp_path):
    """A process is killed at the first thing that it asks of the file system, another one at the second, and so on."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True, env=environment)
