"""Label tables in real processes: killed in mid-labelling, wanted by two runs at once, taken over from the dead."""

import json
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from kd.errors import LabelsHeld
from kd.labels import labelling
from kd.labels.table import keep, open_draft
from kd.run import run
from kd.spec import parse
from tests.support.running import Halt, Run
from tests.support.waiting import wait_until

SPEC = {
    "mode": "train",
    "config": {
        "dataset": "digits",
        "teacher": {"arch": "cnn_small", "epochs": 1},
        "epochs": 1,
        "control": False,
        "augmentation": {"strong": 1},  # so that there are views enough to be killed in between
        "views": 20,
    },
}
LABELS = 20 * 1295


def safe(labels: Path) -> int:
    """How many labels of the draft survive a kill."""
    try:
        return int(next(labels.glob("*.count")).read_text().split()[0])
    except (StopIteration, OSError, ValueError, IndexError):
        return 0


def labelled(run: Run) -> bool:
    return any(event["phase"] == "labelling" for event in run.events("step"))


def said_to_be_kept(run: Run) -> list[int]:
    return [event["count"] for event in run.events("made_safe")]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> Path:
    """A finished table, and nothing else, in its folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    Run(SPEC, folder / "run", data=data, labels=folder / "labels").finish()
    return folder / "labels"


def table_of(labels: Path) -> Path:
    (manifest,) = labels.glob("*.json")
    return manifest.with_suffix(".npy")


def table_bytes(labels: Path) -> bytes:
    return table_of(labels).read_bytes()


def test_a_finished_table_leaves_no_draft_behind(undisturbed):
    assert sorted("".join(path.suffixes) for path in undisturbed.iterdir()) == [".json", ".lock", ".npy", ".views.npy"]
    assert np.load(table_of(undisturbed)).shape == (1295, 20, 10)


def test_killed_twice_in_mid_labelling_the_third_run_goes_on_and_writes_the_same_table(data, undisturbed, tmp_path):
    labels = tmp_path / "labels"
    reached = []
    for number in (1, 2):
        more = Halt("made_safe", count=max(reached, default=0) + 5_000)
        assert Run(SPEC, tmp_path / str(number), data=data, labels=labels, halt=more).was_killed()
        reached.append(safe(labels))

    third = Run(SPEC, tmp_path / "3", data=data, labels=labels)
    third.finish()

    assert 5_000 <= reached[0] < reached[1] < LABELS
    assert table_bytes(labels) == table_bytes(undisturbed)
    assert third.codes().count("labels_reused") == 0


def test_labels_are_said_to_be_kept_when_they_are_safe_and_were_not_there_before(data, tmp_path):
    labels = tmp_path / "labels"
    first = Run(SPEC, tmp_path / "1", data=data, labels=labels, halt=Halt("made_safe"))
    assert first.was_killed()
    found = safe(labels)

    second = Run(SPEC, tmp_path / "2", data=data, labels=labels)
    second.finish()

    assert max(said_to_be_kept(first)) <= found < min(said_to_be_kept(second))


def test_of_two_runs_that_want_a_table_one_writes_and_the_other_waits(data, undisturbed, tmp_path):
    labels = tmp_path / "labels"
    first, second = (
        Run(SPEC, tmp_path / "1", data=data, labels=labels),
        Run(SPEC, tmp_path / "2", data=data, labels=labels),
    )
    first.finish()
    second.finish()

    assert sorted([labelled(first), labelled(second)]) == [False, True]
    assert table_bytes(labels) == table_bytes(undisturbed)


def test_a_run_that_waits_takes_over_when_the_writer_dies(data, undisturbed, tmp_path):
    labels = tmp_path / "labels"
    halt = Halt("made_safe", count=5_000, by=signal.SIGSTOP)
    writer = Run(SPEC, tmp_path / "1", data=data, labels=labels, halt=halt)
    wait_until(lambda: psutil.Process(writer.process.pid).status() == psutil.STATUS_STOPPED)
    left_at = safe(labels)
    heir = Run(SPEC, tmp_path / "2", data=data, labels=labels)
    wait_until(lambda: "labels_awaited" in heir.codes())

    writer.kill()
    heir.finish()

    assert 5_000 <= left_at < LABELS
    assert "labels_reused" not in heir.codes()
    assert table_bytes(labels) == table_bytes(undisturbed)


def test_a_run_does_not_wait_for_ever_for_one_that_holds_the_labels_and_writes_none(data, tmp_path, monkeypatch):
    labels = tmp_path / "labels"
    halt = Halt("made_safe", count=5_000, by=signal.SIGSTOP)
    writer = Run(SPEC, tmp_path / "1", data=data, labels=labels, halt=halt)
    wait_until(lambda: psutil.Process(writer.process.pid).status() == psutil.STATUS_STOPPED)
    monkeypatch.setattr(labelling, "HELD_SECONDS", 0.5)

    said = []
    with pytest.raises(LabelsHeld, match="has written nothing for"):
        said.extend(run(parse(json.dumps(SPEC)), tmp_path / "2", data_folder=data, label_folder=labels))
    writer.kill()


def test_a_draft_of_another_shape_is_started_anew(tmp_path):
    path = tmp_path / "table.npy"
    table, kept = open_draft(path, (10, 2, 3))
    keep(path, table, kept, 15)

    assert open_draft(path, (10, 2, 3))[1].count == 15
    assert open_draft(path, (10, 4, 3))[1].count == 0
    assert open_draft(path, (10, 4, 3))[1].count == 0, "what was started anew has nothing safe"
