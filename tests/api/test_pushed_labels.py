"""Labels that somebody brings: POST /label-tables, jobs that learn from them, and how long they stay."""

import io
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from api.app import build_app
from jobs.settings import Settings
from jobs.states import State

BINARY = {"Content-Type": "application/octet-stream"}
NOBODY = "ab" * 16


def labels(images: int = 1_797, classes: int = 10) -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).normal(size=(images, classes)).astype(np.float16))
    return file.getvalue()


def push(client: TestClient, file: bytes, **query: str) -> Any:
    asked = {"dataset": "digits", "content": "logits", **query}
    return client.post("/label-tables", params=asked, content=file, headers=BINARY)


def test_what_is_pushed_is_a_table_like_any_other_that_a_job_may_name(client: TestClient, submit: Any) -> None:
    made, again = push(client, labels()), push(client, labels())

    table = made.json()
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.headers["location"] == table["urls"]["self"] == f"/label-tables/{again.json()['id']}"
    assert client.get(table["urls"]["self"]).json() | {"used_at": 0} == table | {"used_at": 0}
    assert (table["origin"], table["status"], table["dataset"]) == ("pushed", "complete", "digits")
    assert (table["teacher_arch"], table["teacher_digest"], table["dataset_digest"]) == (None, None, None)
    assert table["labels"]["shape"] == [1_797, 1, 10]
    downloaded = np.load(io.BytesIO(client.get(table["urls"]["download"]).content))
    assert np.array_equal(downloaded[:, 0], np.load(io.BytesIO(labels())))
    job = submit(config={"dataset": "digits", "teacher": {"labels": table["id"]}})
    resolved = job["resolved_spec"]["config"]
    assert (resolved["teacher"], resolved["views"]) == ({"labels": table["id"]}, 1)
    assert (resolved["augmentation"]["crop_padding"], resolved["augmentation"]["flip"]) == (0, False)


def test_a_table_stays_while_a_job_that_learns_from_it_has_not_ended(
    client: TestClient, submit: Any, worker: Any, problem_in: Any
) -> None:
    table = push(client, labels()).json()
    job = submit(config={"dataset": "digits", "teacher": {"labels": table["id"]}})

    refused = problem_in(client.delete(table["urls"]["self"]), 409, "label_table_in_use")
    worker.release(worker.claim(job), State.SUCCEEDED)

    assert job["id"] in refused["detail"]
    assert client.delete(table["urls"]["self"]).status_code == 204
    assert client.get(table["urls"]["self"]).status_code == 404


def test_a_sweep_may_learn_from_pushed_labels_which_each_of_its_jobs_keeps(client: TestClient, problem_in: Any) -> None:
    table = push(client, labels()).json()

    def sweep(labels: str) -> Any:
        config = {"dataset": "digits", "teacher": {"labels": labels}}
        return client.post(
            "/sweeps", json={"mode": "train", "config": config, "space": {"config.seed": {"grid": [0, 1]}}}
        )

    made = sweep(table["id"])
    (fault,) = problem_in(sweep(NOBODY), 422, "invalid")["errors"]

    assert (made.status_code, len(made.json()["members"])) == (201, 2)
    assert not any(member["trains_teacher"] for member in made.json()["members"])
    problem_in(client.delete(table["urls"]["self"]), 409, "label_table_in_use")
    assert (fault["pointer"], "there is no such label table" in fault["message"]) == ("/config/teacher/labels", True)


@pytest.mark.parametrize(
    ("config", "pointer", "why"),
    [
        ({"teacher": {"labels": NOBODY}}, "/config/teacher/labels", "there is no such label table"),
        ({"teacher": {"labels": "x"}}, "/config/teacher/labels", "is no id of a label table"),
        ({"teacher": {"labels": "HERE"}, "dataset": "mnist5k"}, "/config/teacher/labels", "is of digits, but this run"),
        ({"teacher": {"labels": "HERE", "arch": "cnn"}}, "/config/teacher/arch", "there is no such field"),
        ({"teacher": {"labels": "HERE"}, "views": 2}, "/config", "views must be 1 with teacher.labels"),
    ],
)
def test_a_job_that_names_labels_that_do_not_suit_it_is_refused_where_it_stands(
    lone_client: TestClient, problem_in: Any, config: dict[str, Any], pointer: str, why: str
) -> None:
    here = push(lone_client, labels()).json()["id"]
    teacher = {field: here if value == "HERE" else value for field, value in config["teacher"].items()}
    given = {"dataset": "digits", **config, "teacher": teacher}

    answer = lone_client.post("/jobs", json={"mode": "train", "config": given})

    (fault,) = problem_in(answer, 422, "invalid")["errors"]
    assert (fault["pointer"], why in fault["message"]) == (pointer, True), fault


@pytest.mark.parametrize(
    ("content", "query", "place", "why"),
    [
        (labels(1_796), {}, ("body", ""), "there are 1,796 rows, and digits has 1,797 images"),
        (labels(classes=9), {}, ("body", ""), "has 9 classes, digits has 10"),
        (labels(), {"content": "probabilities"}, ("body", ""), "logits are pushed as logits"),
        (b"", {}, ("body", ""), "neither an .npy nor an .npz"),
        (labels(), {"dataset": "digitz"}, ("query", "/dataset"), "there is no data set"),
        (labels(), {"dataset": "packed/none"}, ("query", "/dataset"), "no packed one at all"),
        (labels(), {"dataset_digest": "x"}, ("query", "/dataset_digest"), "would do nothing here"),
        (labels(), {"content": "votes"}, ("query", "/content"), "should be 'logits' or 'probabilities'"),
        (labels(), {"of": "me"}, ("query", "/of"), "no such parameter"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_holds_no_labels_of_these_images_is_refused_in_words(
    lone_client: TestClient, problem_in: Any, content: bytes, query: dict[str, str], place: tuple[str, str], why: str
) -> None:
    (fault,) = problem_in(push(lone_client, content, **query), 422, "invalid")["errors"]

    assert (fault["in"], fault["pointer"]) == place
    assert why in fault["message"]


def test_labels_of_a_packed_data_set_say_of_which_images_they_are(
    lone_client: TestClient, packed: Any, problem_in: Any
) -> None:
    packed("pets", 8)
    name, content = "packed/pets", labels(10, 2)
    (listed,) = [each for each in lone_client.get("/datasets").json()["data"] if each["name"] == name]

    unsaid, other = (
        push(lone_client, content, dataset=name),
        push(lone_client, content, dataset=name, dataset_digest="0" * 64),
    )
    made = push(lone_client, content, dataset=name, dataset_digest=listed["digest"])

    assert (listed["images"], listed["classes"], listed["class_names"]) == (10, 2, ["cat", "dog"])
    for answer in (unsaid, other):
        (fault,) = problem_in(answer, 422, "invalid")["errors"]
        assert fault["pointer"] == "/dataset_digest"
    assert (made.status_code, made.json()["dataset_digest"]) == (201, listed["digest"])


def test_a_file_may_be_larger_than_other_bodies_up_to_a_limit_of_its_own(tmp_path: Any, problem_in: Any) -> None:
    settings = Settings(data_dir=tmp_path / "data", max_body_bytes=1_000, max_labels_bytes=40_000)
    with TestClient(build_app(settings)) as client:
        taken, refused = push(client, labels()), push(client, labels() + bytes(5_000))
        json = client.post("/label-tables?dataset=digits&content=logits", json={})

        assert taken.status_code == 201
        problem_in(refused, 413, "body_too_large")
        assert "application/octet-stream" in problem_in(json, 415, "wrong_content_type")["detail"]
        assert len(client.get("/label-tables").json()["data"]) == 1


def test_there_is_no_more_room_for_them_than_half_of_the_cache(tmp_path: Any, problem_in: Any) -> None:
    with TestClient(build_app(Settings(data_dir=tmp_path / "data", label_cache_bytes=50_000))) as client:
        refused = problem_in(push(client, labels()), 507, "no_room")

        assert "half of STILLHOUSE_LABEL_CACHE_BYTES" in refused["detail"]
        assert client.get("/label-tables").json()["data"] == []
