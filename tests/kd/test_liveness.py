"""Whatever takes long advances the mark, and who minds the process hears of it; of what hangs it hears nothing."""

import itertools
import subprocess
import sys

import torch

from kd import disk, liveness
from kd.data.splits import Split
from kd.events import Advanced, Finished
from kd.parallel import launch
from kd.run import run
from kd.spec import parse
from kd.views import pixels
from tests.kd.tiny import TINY


def test_it_is_said_that_the_mark_has_moved_and_never_that_it_has_not():
    moves, said = iter([1, 0, 0, 3, 0]), []

    class Looks:
        """Between one look of the thread and the next one this happens."""

        def wait(self, seconds: float) -> bool:
            move = next(moves, None)
            for _ in range(move or 0):
                liveness.advance()
            said.append([])
            return move is None

    liveness._report(lambda: said[-1].append("moved"), Looks())

    assert said == [["moved"], [], [], ["moved"], [], []]


def test_a_run_gets_further_all_the_time_also_where_it_says_nothing(data, tmp_path):
    spec = parse({"mode": "train", "config": TINY | {"epochs": 1, "teacher": {"arch": "mlp", "epochs": 1}}})
    before, silent, phases = liveness.mark(), [], []

    for event in run(spec, tmp_path / "out", data_folder=data, label_folder=tmp_path / "labels"):
        if event.event in ("evaluated", "saved") and liveness.mark() == before:
            silent.append(event)  # to judge a model takes a while, as does a file, which is read again for its sha256
        if event.event == "phase":
            phases.append((event.phase, liveness.mark()))
        before = liveness.mark()

    assert silent == []
    assert [phase for phase, _ in phases] == ["teacher", "labelling", "student", "control", "evaluating"]
    assert all(after > mark + 2 for (_, mark), (_, after) in itertools.pairwise(phases)), phases


def test_so_does_what_is_read_block_by_block(tmp_path):
    large = tmp_path / "large"
    large.write_bytes(bytes(3 * disk.BLOCK_BYTES))
    images = torch.zeros(3, 1, 1 << 12, 1 << 12, dtype=torch.uint8)

    for read, blocks in (
        (lambda: disk.sha256_of(large), 3),
        (lambda: pixels.place(Split(images, torch.zeros(3), torch.arange(3)), 0, torch.device("cpu"), 1 << 40), 3),
    ):
        before = liveness.mark()
        read()
        assert liveness.mark() == before + blocks


def test_what_a_team_gets_further_is_said_to_whoever_minds_the_process_that_started_it(monkeypatch):
    lines = [Advanced(), Advanced(), Finished(step=1, metrics={}, seconds={})]
    speak = f"print({chr(10).join(line.model_dump_json() for line in lines)!r})"

    def start(*_: object, **__: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", speak], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(launch.child, "start", start)
    before = liveness.mark()

    said = list(launch.launch(parse({"mode": "train", "config": {}}), processes=2, save_now=None))

    assert (said, liveness.mark()) == (lines[2:], before + 2)
