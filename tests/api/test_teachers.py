"""Teachers that somebody brings: POST /teachers, jobs that name them, and how long they stay."""

import io
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import build_app
from jobs.files import layout
from jobs.settings import Settings
from jobs.states import State
from kd.teachers import uploads
from kd.teachers.uploads import Said
from tests.support.models.onnx_files import linear

BINARY = {"Content-Type": "application/octet-stream"}
FILE = linear().SerializeToString()
NOBODY = "tch_" + "ab" * 14


def bring(client: TestClient, file: bytes = FILE, **query: str) -> Any:
    return client.post("/teachers", params={"name": "mine", "pixels": "unit", **query}, content=file, headers=BINARY)


def test_what_is_brought_is_a_teacher_that_a_job_may_name(client: TestClient, submit: Any) -> None:
    made, again, other = bring(client), bring(client, name="another name"), bring(client, pixels="imagenet")

    teacher = made.json()
    assert (made.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert made.headers["location"] == teacher["urls"]["self"] == f"/teachers/{again.json()['id']}"
    assert client.get(teacher["urls"]["self"]).json() == teacher
    assert (teacher["name"], teacher["preprocess"]["scale"], teacher["graph"]) == ("mine", 255, None)
    assert teacher["size"] == len(FILE)
    pages = [client.get("/teachers", params={"limit": 1}).json()]
    pages.append(client.get("/teachers", params={"limit": 1, "after": pages[0]["next_cursor"]}).json())
    listed = [one["id"] for page in pages for one in page["data"]]
    assert listed == [other.json()["id"], teacher["id"]], "the newest first"
    assert not pages[1]["has_more"]
    job = submit(config={"dataset": "digits", "teacher": {"upload": teacher["id"]}})
    assert job["resolved_spec"]["config"]["teacher"] == {"upload": teacher["id"]}


def test_a_teacher_stays_while_a_job_that_learns_from_it_has_not_ended(
    client: TestClient, submit: Any, worker: Any, problem_in: Any
) -> None:
    teacher = bring(client).json()
    committee = [{"upload": teacher["id"]}, {"arch": "mlp"}]
    job = submit(config={"dataset": "digits", "teacher": {"upload": teacher["id"]}})
    second = submit(config={"dataset": "digits", "teacher": {"committee": committee}})

    refused = problem_in(client.delete(teacher["urls"]["self"]), 409, "teacher_in_use")
    worker.release(worker.claim(job), State.SUCCEEDED)
    still = problem_in(client.delete(teacher["urls"]["self"]), 409, "teacher_in_use")
    worker.release(worker.claim(second), State.SUCCEEDED)

    assert job["id"] in refused["detail"]
    assert job["id"] not in still["detail"]
    assert client.delete(teacher["urls"]["self"]).status_code == 204
    problem_in(client.get(teacher["urls"]["self"]), 404, "teacher_not_found")


@pytest.mark.parametrize(
    ("file", "query", "place", "why"),
    [
        (b"PK\x03\x04", {}, ("body", ""), "it is a zip file, as torch.save, TorchScript and .pt2 write them"),
        (FILE, {"pixels": "rgb"}, ("query", "/pixels"), "'imagenet'"),
        (FILE, {"mean": "0.5", "std": "0.5"}, ("query", ""), "pixels says what mean and std say as well"),
        (FILE, {"image_size": "big"}, ("query", ""), "an image's size is HEIGHTxWIDTH, such as 224x224"),
        (FILE, {"classes": "cat,dog"}, ("query", "/classes"), "should be a JSON list of names"),
        (FILE, {"classes": '["cat", "cat"]'}, ("query", "/classes"), "names a class twice"),
        (FILE, {"name": ""}, ("query", "/name"), "at least 1 character"),
        (FILE, {"kind": "onnx"}, ("query", "/kind"), ""),
    ],
)
def test_what_is_no_teacher_is_refused_with_the_place_and_what_to_do(
    lone_client: TestClient, problem_in: Any, file: bytes, query: dict[str, str], place: tuple[str, str], why: str
) -> None:
    (fault,) = problem_in(bring(lone_client, file, **query), 422, "invalid")["errors"]

    assert (fault["in"], fault["pointer"]) == place
    assert why in fault["message"]
    assert not list(uploads.each(lone_client.app.state.settings.data_dir / layout.TEACHERS))  # type: ignore[attr-defined]


def test_a_teacher_that_is_not_there_or_knows_other_classes_is_refused_when_a_job_names_it(
    lone_client: TestClient, problem_in: Any
) -> None:
    def fault(config: dict[str, Any]) -> tuple[str, str]:
        body = {"mode": "train", "config": {"dataset": "digits", **config}}
        (found,) = problem_in(lone_client.post("/jobs", json=body), 422, "invalid")["errors"]
        return found["pointer"], found["message"]

    pets = bring(lone_client, classes=json.dumps(["cat", "dog"])).json()["id"]

    assert fault({"teacher": {"upload": NOBODY}})[0] == "/config/teacher/upload"
    assert "there is none" in fault({"teacher": {"upload": NOBODY}})[1]
    assert fault({"teacher": {"upload": "tch_x"}}) == ("/config/teacher/upload", uploads.IDS_ARE)
    assert fault({"teacher": {"upload": pets}}) == ("/config/teacher/upload", "knows 2 classes, and digits has 10")
    assert fault({"teacher": {"committee": [{"arch": "mlp"}, {"upload": NOBODY}]}})[0].endswith("/committee/1/upload")
    assert "is named twice" in fault({"teacher": {"committee": [{"upload": pets}, {"upload": pets}]}})[1]
    assert "no architecture to train" in fault({"student": {"arch": "onnx"}})[1]
    assert "an ONNX model has none to show" in fault({"teacher": {"upload": pets}, "objective": {"method": "rkd"}})[1]


def test_a_teacher_that_learns_is_none_that_was_brought(lone_client: TestClient, problem_in: Any) -> None:
    for kind, why in (("cotrain", "an ONNX model guides as it is"), ("route", "a teacher that is trained here")):
        config = {"dataset": "digits", "teacher": {"upload": NOBODY}, "rounds": {"teacher": kind}}
        problem = problem_in(lone_client.post("/jobs", json={"mode": "guide", "config": config}), 422, "invalid")
        assert why in problem["detail"]


def test_a_file_that_is_too_large_is_refused(tmp_path: Any, problem_in: Any) -> None:
    with TestClient(build_app(Settings(data_dir=tmp_path, max_teacher_bytes=1_000))) as client:
        problem_in(bring(client, FILE), 413, "body_too_large")


def test_what_kd_teacher_add_has_kept_beside_the_server_is_there(lone_client: TestClient) -> None:
    folder = lone_client.app.state.settings.data_dir / layout.TEACHERS  # type: ignore[attr-defined]

    found, _ = uploads.add(folder, io.BytesIO(FILE), Said(name="beside"), None)

    assert lone_client.get(f"/teachers/{found.id}").json()["name"] == "beside"
    uploads.remove(folder, found.id)
