"""Label tables through real processes: killed in mid-labelling, wanted by two runs at once, taken over from the dead."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kd import tables

SPEC = {
    "mode": "train",
    "config": {
        "dataset": "mnist5k",
        "teacher": {"arch": "cnn", "epochs": 1},
        "epochs": 1,
        "control": False,
        "views": "all",
    },
}
RUN = """
import sys
from kd import labels
labels.CHUNK_SECONDS = 0.05
from kd.run import run
from kd.spec import parse
spec, out, data, tables = sys.argv[1:]
for event in run(parse(spec), out, data_folder=data, label_folder=tables):
    print(event.model_dump_json(), flush=True)
"""


class Run:
    """A run in a process of its own, and what it said so far."""

    def __init__(self, folder: Path, data: Path, labels: Path):
        self.lines = folder.with_suffix(".lines")
        arguments = [json.dumps(SPEC), str(folder), str(data), str(labels)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # the same bits, whatever else goes on
        with open(self.lines, "w") as said:
            self.process = subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=said, env=environment)

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.lines.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def codes(self) -> list[str]:
        return [event["code"] for event in self.events() if event["event"] == "noted"]

    def labels_written(self) -> float:
        """Images shown to the teacher, as its speed and time tell; 0 for one that labelled nothing."""
        return len([event for event in self.events() if event["event"] == "step" and event["phase"] == "labelling"])

    def finish(self) -> None:
        assert self.process.wait(timeout=120) == 0


def wait_until(condition, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def safe(labels: Path) -> int:
    """How many labels of the draft survive a kill."""
    try:
        return int(next(labels.glob("*.count")).read_text())
    except (StopIteration, OSError, ValueError):
        return 0


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> Path:
    """A finished table, and nothing else, in its folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    Run(folder / "run", data, folder / "labels").finish()
    return folder / "labels"


def table_bytes(labels: Path) -> bytes:
    (table,) = labels.glob("*.npy")
    return table.read_bytes()


def test_a_finished_table_leaves_no_draft_behind(undisturbed):
    assert sorted(path.suffix for path in undisturbed.iterdir()) == [".json", ".lock", ".npy"]
    assert np.load(next(undisturbed.glob("*.npy"))).shape == (3600, 25, 10)


def test_killed_twice_in_mid_labelling_the_third_run_goes_on_and_writes_the_same_table(data, undisturbed, tmp_path):
    labels = tmp_path / "labels"
    reached = []
    for number in (1, 2):
        run = Run(tmp_path / str(number), data, labels)
        before = max(reached, default=0)
        wait_until(lambda: safe(labels) > before + 5_000)
        run.process.kill()
        run.process.wait()
        reached.append(safe(labels))

    third = Run(tmp_path / "3", data, labels)
    third.finish()

    assert 5_000 < reached[0] < reached[1] < 90_000
    assert table_bytes(labels) == table_bytes(undisturbed)
    assert third.codes().count("labels_reused") == 0


def test_of_two_runs_that_want_a_table_one_writes_and_the_other_waits(data, undisturbed, tmp_path):
    labels = tmp_path / "labels"
    first, second = Run(tmp_path / "1", data, labels), Run(tmp_path / "2", data, labels)
    first.finish()
    second.finish()

    labelled = sorted([first.labels_written() > 0, second.labels_written() > 0])
    assert labelled == [False, True]
    assert table_bytes(labels) == table_bytes(undisturbed)


def test_a_run_that_waits_takes_over_when_the_writer_dies(data, undisturbed, tmp_path):
    labels = tmp_path / "labels"
    writer = Run(tmp_path / "1", data, labels)
    wait_until(lambda: safe(labels) > 5_000)
    writer.process.send_signal(signal.SIGSTOP)
    left_at = safe(labels)
    heir = Run(tmp_path / "2", data, labels)
    wait_until(lambda: "labels_awaited" in heir.codes())

    writer.process.kill()
    writer.process.wait()
    heir.finish()

    assert 5_000 < left_at < 90_000
    assert "labels_reused" not in heir.codes()
    assert table_bytes(labels) == table_bytes(undisturbed)


def test_a_draft_of_another_shape_is_started_anew(tmp_path):
    path = tmp_path / "table.npy"
    table, _ = tables.open_draft(path, (10, 2, 3))
    tables.keep(path, table, 15)

    assert tables.open_draft(path, (10, 2, 3))[1] == 15
    assert tables.open_draft(path, (10, 4, 3))[1] == 0
    assert tables.open_draft(path, (10, 4, 3))[1] == 0, "what was started anew has nothing safe"
