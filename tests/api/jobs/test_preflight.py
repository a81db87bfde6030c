"""POST /jobs/validate: what POST /jobs would answer, and what would come of it, without a job."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.queue.leases import Spent
from jobs.states import State
from kd.data.dataset import load_dataset

NOBODY = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"


def ask(client: TestClient, config: dict[str, Any], mode: str = "train") -> Any:
    return client.post("/jobs/validate", json={"mode": mode, "config": config})


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_it_resolves_a_spec_as_a_submission_does_and_makes_no_job(client: TestClient, mode: str) -> None:
    config = {"dataset": "digits", "student": {"arch": "cnn_small"}}

    foreseen = ask(client, config, mode)
    listed = client.get("/jobs").json()["data"]
    job = client.post("/jobs", json={"mode": mode, "config": config}).json()

    assert foreseen.status_code == 200
    assert foreseen.json()["resolved_spec"] == job["resolved_spec"]
    assert foreseen.json()["waits_for"] is None
    assert listed == []


@pytest.mark.parametrize(
    "config",
    [
        {"epochs": 0},
        {"dataset": "packed/none"},
        {"teacher": {"job": NOBODY}},
        {"teacher": {"labels": "ab" * 16}},
        {"teacher": {"upload": "tch_" + "ab" * 14}},
    ],
)
def test_what_would_be_refused_is_refused_with_the_same_answer(
    lone_client: TestClient, problem_in: Any, config: dict[str, Any]
) -> None:
    foreseen = problem_in(ask(lone_client, config), 422, "invalid")
    refused = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config}), 422, "invalid")

    assert foreseen["errors"] == refused["errors"]


def test_it_tells_what_would_be_shown_labelled_and_written(lone_client: TestClient, tmp_path: Any) -> None:
    learn_from = len(load_dataset("digits", tmp_path, 0.1).train.labels)
    config = {"dataset": "digits", "seeds": 2, "epochs": 5, "views": 3, "teacher": {"epochs": 4}}

    told = ask(lone_client, config).json()
    paired = ask(lone_client, config | {"objective": {"method": "cross_view"}}).json()
    guided = ask(lone_client, {"dataset": "digits", "epochs": 5, "rounds": {"epochs": 2, "views": 1}}, "guide").json()

    assert abs(told["images"] - learn_from) <= 10, "of each class a share is cut off, to the nearest image"
    images = told["images"]
    assert told["images_shown"] == {"teacher": 4 * images, "student": 10 * images, "control": 10 * images}
    assert (told["images_labelled"], told["label_table_bytes"]) == (3 * images, 3 * images * 10 * 2)
    assert (paired["images_shown"]["student"], paired["images_labelled"]) == (20 * images, 6 * images)
    assert (guided["images_labelled"], guided["label_table_bytes"]) == (3 * images, None)


def test_a_job_that_would_wait_says_for_which(lone_client: TestClient) -> None:
    config = {"dataset": "digits"}
    first = lone_client.post("/jobs", json={"mode": "train", "config": config}).json()["id"]

    assert ask(lone_client, config | {"teacher": {"job": first}}).json()["waits_for"] == first


CONFIG = {"dataset": "digits", "epochs": 10, "views": 4, "teacher": {"arch": "cnn", "epochs": 4}}


@pytest.fixture
def ended(submit: Any, worker: Any, client: TestClient) -> Any:
    """A job that has run: a millisecond for each image that the teacher learnt from, a tenth for one that it labelled,
    two for one that student and control were shown; a second in all beside that."""

    def ended(
        config: dict[str, Any],
        *,
        teacher_epochs: int = 4,
        labelled: bool = True,
        memory: int = 0,
        off: float | None = None,
    ) -> dict[str, Any]:
        told = ask(client, config).json()
        shown, labels = told["images_shown"], told["images_labelled"]
        seconds = {"teacher": shown["teacher"] * teacher_epochs / 4 / 1_000, "evaluating": 1.0}
        seconds |= {role: shown[role] / 500 for role in ("student", "control")}
        seconds["labelling"] = labels / 10_000 if labelled else 0.0
        job = submit(config=config)
        claim = worker.claim(job)
        metrics = {"teacher.epochs": teacher_epochs, "student.epochs": config["epochs"]}
        metrics |= {"peak_memory_bytes.host": memory} if memory else {}
        result = {"metrics": metrics, "seconds": seconds}
        spent = Spent(sum(seconds.values()) + 1.0)
        if off is not None:
            worker.expect(claim, told["estimate"] | {"total_seconds": spent.seconds * (1 + off)})
        worker.release(claim, State.SUCCEEDED, result={**result, "best_checkpoint": None, "verdict": None}, spent=spent)
        return dict(client.get(job["urls"]["self"]).json())

    return ended


def test_how_long_it_takes_is_told_by_what_jobs_before_it_took(client: TestClient, ended: Any) -> None:
    at_first = ask(client, CONFIG).json()["estimate"]
    ended(CONFIG)
    told = ask(client, CONFIG | {"epochs": 20, "views": 2}).json()
    unknown = ask(client, CONFIG | {"student": {"arch": "cnn_small"}}).json()["estimate"]
    other = ask(client, CONFIG | {"dataset": "mnist5k"}).json()["estimate"]
    ended(CONFIG | {"dataset": "cifar10"})
    larger = ask(client, CONFIG | {"dataset": "cifar10", "input_size": 64}).json()

    assert at_first == {
        "total_seconds": None,
        "seconds": dict.fromkeys(("teacher", "student", "control", "labelling", "evaluating")),
        "memory_bytes": None,
        "jobs": 0,
        "error": None,
    }
    images, estimate = told["images"], told["estimate"]
    seconds = estimate["seconds"]
    assert seconds["student"] == seconds["control"] == pytest.approx(20 * images / 500, abs=0.1)
    assert seconds["teacher"] == pytest.approx(4 * images / 1_000, abs=0.1)
    assert seconds["labelling"] == pytest.approx(2 * images / 10_000, abs=0.1)
    assert estimate["total_seconds"] == pytest.approx(sum(seconds.values()) + 1.0, abs=0.2)
    assert (unknown["total_seconds"], unknown["seconds"]["student"]) == (None, None)
    assert unknown["seconds"]["teacher"] == seconds["teacher"]
    assert other["seconds"]["student"] is None, "of small images it is not the pixels that take the time"
    assert larger["estimate"]["seconds"]["student"] == pytest.approx(10 * larger["images"] * 4 / 500, rel=0.01)


def test_one_that_stopped_early_took_no_less_for_an_image_and_labels_that_were_there_tell_nothing(
    client: TestClient, ended: Any
) -> None:
    ended(CONFIG, teacher_epochs=1, labelled=False)

    seconds = ask(client, CONFIG).json()["estimate"]["seconds"]

    assert seconds["teacher"] == pytest.approx(4 * ask(client, CONFIG).json()["images"] / 1_000, abs=0.1)
    assert seconds["labelling"] is None


def test_it_needs_the_memory_that_the_same_models_have_needed(client: TestClient, ended: Any) -> None:
    ended(CONFIG, memory=400_000_000)
    ended(CONFIG | {"epochs": 1}, memory=500_000_000)

    same, larger_batch, other = (
        ask(client, CONFIG | changes).json()["estimate"]["memory_bytes"]
        for changes in ({"views": 2}, {"batch_size": 512}, {"student": {"arch": "cnn"}})
    )

    assert (same, larger_batch, other) == (500_000_000, None, None)


def test_an_estimate_is_held_against_what_the_job_took(client: TestClient, ended: Any) -> None:
    """And whoever asks for the next one is told how far off they are as a rule."""
    at_first = ended(CONFIG)
    off = [ended(CONFIG, off=share) for share in (0.1, -0.3, 0.2)]

    assert at_first["estimate"] is None, "nothing was known"
    for job, share in zip(off, (0.1, -0.3, 0.2), strict=True):
        assert job["estimate"]["total_seconds"] == pytest.approx(job["run_seconds"] * (1 + share), rel=0.01)
    assert ask(client, CONFIG).json()["estimate"]["error"] == pytest.approx(0.2, abs=0.01)
