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
from tests.support.models.safetensors_files import lying, tensor

BINARY = {"Content-Type": "application/octet-stream"}
FILE = linear().SerializeToString()
WEIGHTS = lying({"fc.weight": tensor()}, bytes(24))
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


def test_weights_come_with_their_architecture_which_says_what_is_usual_with_it(client: TestClient) -> None:
    def push(**query: str) -> dict[str, Any]:
        answer = client.post("/teachers", params={"name": "mine", **query}, content=WEIGHTS, headers=BINARY)
        assert answer.status_code == 201, answer.text
        assert client.get(answer.json()["urls"]["self"]).json() == answer.json()
        return answer.json()

    of_timm = push(architecture="timm/test_vit")
    larger = push(architecture="timm/test_vit", image_size="192x192", interpolation="bicubic")
    ours, onnx = push(architecture="resnet20"), bring(client).json()

    assert (of_timm["kind"], of_timm["architecture"], of_timm["graph"]) == ("safetensors", "timm/test_vit", None)
    assert of_timm["weights"] == {"tensors": 1, "numbers": 6, "types": ["F32"]}
    usual = {"scale": 255, "mean": [0.5] * 3, "std": [0.5] * 3, "size": [160, 160], "interpolation": "bilinear"}
    assert of_timm["preprocess"] == usual
    assert larger["preprocess"] == usual | {"size": [192, 192], "interpolation": "bicubic"}
    assert ours["preprocess"] is None, "it sees what the data set's own networks see"
    assert (onnx["kind"], onnx["architecture"], onnx["weights"]) == ("onnx", None, None)


def test_a_teacher_stays_while_a_job_that_learns_from_it_has_not_ended(
    client: TestClient, submit: Any, worker: Any, problem_in: Any
) -> None:
    teacher = bring(client).json()
    committee = [{"upload": teacher["id"]}, {"arch": "mlp"}]
    job = submit(config={"dataset": "digits", "teacher": {"upload": teacher["id"]}})
    second = submit(config={"dataset": "digits", "teacher": {"committee": committee}})
    ours = client.post("/teachers", params={"name": "x", "architecture": "cnn"}, content=WEIGHTS, headers=BINARY).json()
    begins = submit(config={"dataset": "digits", "student": {"arch": "cnn", "start": {"upload": ours["id"]}}})

    refused = problem_in(client.delete(teacher["urls"]["self"]), 409, "teacher_in_use")
    assert begins["id"] in problem_in(client.delete(ours["urls"]["self"]), 409, "teacher_in_use")["detail"]
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
        (FILE, {"architecture": "resnet20"}, ("body", ""), "it is no safetensors file, and resnet20 was said to be"),
        (WEIGHTS, {}, ("body", ""), "which has weights and no model: say of which architecture they are, such as"),
        (WEIGHTS, {"architecture": "resnet21"}, ("query", "/architecture"), "no model named 'resnet21'"),
        (WEIGHTS, {"architecture": "own/mine"}, ("query", "/architecture"), "no model named 'own/mine'"),
        (WEIGHTS, {"architecture": "onnx"}, ("query", "/architecture"), "onnx is no architecture to train"),
        (WEIGHTS[:-4], {"architecture": "resnet20"}, ("body", ""), "its tensors take 24 bytes, and 20 are there"),
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


def test_what_a_model_cannot_begin_from_is_refused_when_a_job_names_it(
    client: TestClient, submit: Any, worker: Any, problem_in: Any
) -> None:
    def fault(config: dict[str, Any]) -> tuple[str, str]:
        body = {"mode": "train", "config": {"dataset": "digits", **config}}
        (found,) = problem_in(client.post("/jobs", json=body), 422, "invalid")["errors"]
        return found["pointer"], found["message"]

    def of_student(start: dict[str, Any], arch: str = "mlp") -> tuple[str, str]:
        return fault({"student": {"arch": arch, "start": start}})

    onnx = bring(client).json()["id"]
    ours = client.post("/teachers", params={"name": "x", "architecture": "cnn"}, content=WEIGHTS, headers=BINARY).json()
    job = submit(config={"dataset": "digits", "student": {"arch": "mlp"}})
    worker.release(worker.claim(job), State.CANCELLED)

    assert of_student({"upload": NOBODY})[0] == "/config/student/start/upload"
    assert "is an ONNX file, which answers and is never trained" in of_student({"upload": onnx})[1]
    assert of_student({"upload": ours["id"]})[1] == "has weights of cnn, and what is to begin from them is a mlp"
    assert of_student({"job": f"job_{'0' * 26}"}) == ("/config/student/start/job", "does not exist")
    assert "has a teacher that is a cnn, and what is to begin" in of_student({"job": job["id"]})[1]
    gone = "was cancelled without a teacher to take over"
    assert of_student({"job": job["id"]}, "cnn") == ("/config/student/start/job", gone)
    assert of_student({"upload": ours["id"], "body_rate": 0})[0] == "/config/student/start/body_rate"
    assert of_student({"upload": ours["id"], "frozen": ["a", "a"]})[1] == "a is named twice"
    committee = [{"arch": "mlp"}, {"arch": "mlp", "start": {"upload": onnx}}]
    assert fault({"teacher": {"committee": committee}})[0] == "/config/teacher/committee/1/start/upload"


def test_a_job_waits_for_what_it_is_to_begin_from_and_that_stays(
    client: TestClient, submit: Any, worker: Any, problem_in: Any
) -> None:
    first = submit(config={"dataset": "digits", "student": {"arch": "mlp"}})
    start = {"job": first["id"], "role": "student"}
    second = submit(config={"dataset": "digits", "student": {"arch": "mlp", "start": start}})
    other = submit(
        config={"dataset": "mnist5k", "student": {"arch": "cnn"}, "teacher": {"start": start, "arch": "mlp"}}
    )

    assert [job["waiting"]["after"] for job in (second, other)] == [first["id"]] * 2
    body = {"mode": "train", "config": {"dataset": "digits", "student": {"arch": "cnn", "start": start}}}
    (fault,) = problem_in(client.post("/jobs", json=body), 422, "invalid")["errors"]
    assert fault["message"] == "has a student that is a mlp, and what is to begin from it is a cnn"
    worker.release(worker.claim(first), State.FAILED)
    problem_in(client.delete(first["urls"]["self"]), 409, "in_use")


def test_what_an_objective_compares_a_teacher_must_have(
    client: TestClient, submit: Any, worker: Any, problem_in: Any
) -> None:
    """By the architecture that was said with the file; also where another job lends the teacher on."""
    vit = client.post(
        "/teachers", params={"name": "vit", "architecture": "timm/test_vit"}, content=WEIGHTS, headers=BINARY
    ).json()
    onnx = bring(client).json()
    job = submit(config={"dataset": "digits", "teacher": {"upload": onnx["id"]}})
    claim = worker.claim(job)
    worker.publish_artifact(claim, "teacher.safetensors", b"teacher")
    worker.release(claim, State.SUCCEEDED, result={"metrics": {}})

    def asks(mode: str, teacher: dict[str, str], method: str) -> Any:
        config = {"dataset": "digits", "teacher": teacher, "objective": {"method": method}, "student": {"arch": "cnn"}}
        return client.post("/jobs", json={"mode": mode, "config": config})

    assert asks("train", {"upload": vit["id"]}, "rkd").status_code == 201
    (fault,) = problem_in(asks("guide", {"upload": vit["id"]}, "at"), 422, "invalid")["errors"]
    assert fault["pointer"] == "/config/objective/method"
    assert "the teacher, timm/test_vit, has none" in fault["message"]
    for teacher in ({"upload": onnx["id"]}, {"job": job["id"]}):
        assert "an ONNX model has none to show" in problem_in(asks("train", teacher, "rkd"), 422, "invalid")["detail"]


def test_a_teacher_that_learns_is_none_that_was_brought(lone_client: TestClient, problem_in: Any) -> None:
    for kind, why in (("cotrain", "one that was brought guides as it is"), ("route", "a teacher that is trained here")):
        config = {"dataset": "digits", "teacher": {"upload": NOBODY}, "rounds": {"teacher": kind}}
        problem = problem_in(lone_client.post("/jobs", json={"mode": "guide", "config": config}), 422, "invalid")
        assert why in problem["detail"]


def test_a_file_that_is_too_large_is_refused(tmp_path: Any, problem_in: Any) -> None:
    with TestClient(build_app(Settings(data_dir=tmp_path, max_teacher_bytes=1_000))) as client:
        problem_in(bring(client, FILE), 413, "body_too_large")


def test_what_kd_teacher_add_has_kept_beside_the_server_is_there(lone_client: TestClient) -> None:
    folder = lone_client.app.state.settings.data_dir / layout.TEACHERS  # type: ignore[attr-defined]

    found, _ = uploads.add(folder, io.BytesIO(FILE), Said(name="beside"))

    assert lone_client.get(f"/teachers/{found.id}").json()["name"] == "beside"
    uploads.remove(folder, found.id)


def test_the_document_says_what_a_teacher_is_though_a_spec_has_one_too(lone_client: TestClient) -> None:
    document = lone_client.get("/openapi.json").json()
    answer = document["paths"]["/teachers/{teacher_id}"]["get"]["responses"]["200"]["content"]["application/json"]

    schema = document["components"]["schemas"][answer["schema"]["$ref"].rpartition("/")[2]]

    assert set(schema["properties"]) == set(bring(lone_client).json())
