"""A flipped bit in each kind of file that a deployment reads again: it is noticed, and nobody learns from it."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest

from jobs.files import layout
from kd.data import packing, published
from kd.labels import cache
from tests.attack.conftest import LASTING, Attacked
from tests.support.deployed import wait_until
from tests.support.faults.disk import flip
from tests.support.trainers import MADE_SAFE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PACKED = "packed/attacked"
# In one file a bit may be of no account: so several, and each by itself.
PLACES = [Random(number) for number in range(3)]


@pytest.fixture(scope="module")
def data_set(attacked: Attacked) -> Path:
    """The folder of a packed one."""
    source, folder = published.digits(), attacked.data / layout.DATASETS
    packing.pack(folder, PACKED, [packing.Chunk(source.images.transpose(0, 2, 3, 1), source.labels)])
    return folder / PACKED


@pytest.fixture(scope="module")
def done(attacked: Attacked, undisturbed: object) -> str:
    """A job that has ended well, with its teacher and its labels."""
    return next(job["id"] for job in attacked.client.list() if job["status"] == "succeeded")


def file_of(attacked: Attacked, job_id: str, name: str) -> Path:
    return next((attacked.data / layout.JOBS / job_id).rglob(name))


def answer_to(attacked: Attacked, path: str) -> tuple[int, str | None]:
    answer = httpx2.get(f"{attacked.url}{path}", timeout=60, trust_env=False)
    return answer.status_code, answer.json().get("code") if answer.is_error else None


@pytest.mark.parametrize("dice", PLACES, ids=range(len(PLACES)))
def test_of_a_resume_state_the_job_goes_on_from_the_one_before(
    attacked: Attacked, undisturbed: object, dice: Random
) -> None:
    attacked.crew(1)
    job_id = attacked.in_training()
    attacked.client.pause(job_id)
    attacked.wait_for(job_id, lambda job: job["status"] == "paused", "is paused")

    flip(attacked.newest_resume(job_id), dice)
    attacked.client.resume(job_id)

    assert attacked.outcome(job_id) == undisturbed
    told = [event["data"].get("error") or {} for event in attacked.events(job_id) if event["type"] == "state"]
    assert "bad_checkpoint" in [error.get("code") for error in told]


@pytest.fixture
def flipped(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Flips a bit, and flips it back in the end: the file is for others, too."""
    flips: list[tuple[Path, int]] = []

    def once(path: Path, dice: Random) -> None:
        flips.append((path, flip(path, dice)))

    yield once
    for path, at in reversed(flips):
        flip(path, at=at)


@pytest.mark.parametrize("what", ["student", "teacher", "report", "labels", "views"])
def test_of_what_is_downloaded_there_is_no_download(attacked: Attacked, done: str, flipped: Any, what: str) -> None:
    (table,) = list(attacked.client.label_tables())
    labels = attacked.data / layout.LABELS / table["id"]
    path, route = {
        "student": (file_of(attacked, done, "student.safetensors"), f"/jobs/{done}/checkpoints/best/download"),
        "teacher": (file_of(attacked, done, "teacher.safetensors"), f"/jobs/{done}/artifacts/teacher.safetensors"),
        "report": (file_of(attacked, done, "report.json"), f"/jobs/{done}/artifacts/report.json"),
        "labels": (labels.with_suffix(cache.ARRAY), f"/label-tables/{table['id']}/download"),
        "views": (labels.with_suffix(cache.PARAMETERS), f"/label-tables/{table['id']}/views"),
    }[what]
    assert answer_to(attacked, route) == (200, None)

    flipped(path, PLACES[0])

    assert answer_to(attacked, route) == (410, "file_damaged")


def test_of_a_lent_teacher_the_job_fails_and_says_so(attacked: Attacked, done: str, flipped: Any) -> None:
    attacked.crew(1)
    flipped(file_of(attacked, done, "teacher.safetensors"), PLACES[0])

    job = attacked.wait_for_end(attacked.submit(teacher={"job": done}))

    assert (job["status"], job["error"]["code"]) == ("failed", "bad_teacher")


def test_of_a_label_table_the_labels_are_made_anew(attacked: Attacked, undisturbed: object, done: str) -> None:
    attacked.crew(1)
    (table,) = list(attacked.client.label_tables())
    flip(attacked.data / layout.LABELS / f"{table['id']}{cache.ARRAY}", PLACES[0])

    assert attacked.outcome(attacked.submit(**LASTING)) == undisturbed


def test_of_a_draft_the_labels_are_made_anew(attacked: Attacked) -> None:
    """Of those that were safe when its writer was killed."""
    labelled = LASTING | {"views": 8, "epochs": 2}
    attacked.crew(1)
    undisturbed = attacked.outcome(attacked.submit(**labelled, seed=7))
    for table in list(attacked.client.label_tables()):
        attacked.client.delete_label_table(table["id"])
    attacked.crew(0)
    attacked.stage.close_gate(MADE_SAFE)
    writer = attacked.add_worker(LABELS_ARE_KEPT_EVERY_SECONDS="0")
    job_id = attacked.submit(**labelled, seed=7)
    for _ in range(3):
        (trainer,) = wait_until(attacked.stage.held, "it has kept some labels")
        attacked.stage.let_pass(trainer)
    wait_until(attacked.stage.held, "and more")

    writer.kill()
    wait_until(lambda: not attacked.stage.held(), "its trainer is gone")
    attacked.stage.open_gate(MADE_SAFE)
    (draft,) = (attacked.data / layout.LABELS).glob(f"*{cache.DRAFT}")
    safe = int(draft.with_suffix(cache.COUNT).read_text().split()[0])
    assert safe > 0
    flip(draft, at=200)  # of the first labels
    attacked.let_lease_lapse(job_id)
    attacked.crew(1)

    assert attacked.outcome(job_id) == undisturbed


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "split.npy", "facts.json"])
def test_of_a_packed_data_set_the_job_fails_and_says_so(
    attacked: Attacked, data_set: Path, flipped: Any, name: str
) -> None:
    attacked.crew(1)
    job_id = attacked.submit(dataset=PACKED)
    attacked.client.pause(job_id)
    flipped(data_set / name, Random(1))
    attacked.client.resume(job_id)

    job = attacked.wait_for_end(job_id)

    assert (job["status"], job["error"]["code"]) == ("failed", "bad_data")
