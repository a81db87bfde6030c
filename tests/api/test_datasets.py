"""POST /uploads, /datasets: a file comes in parts, a job of light work makes a data set of it, which can be deleted."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from api import uploads
from api.app import build_app
from jobs.files import layout
from jobs.files import uploads as stored
from jobs.queue import datasets
from jobs.settings import Settings
from jobs.states import State
from kd.data.packing import Chunk, pack
from kd.report.data_set.examine import examine

BINARY = {"Content-Type": "application/octet-stream"}
CONTENT = b"some photos" * 1_000
NOBODY = "upl_" + "ab" * 14


def announce(client: TestClient, content: bytes = CONTENT, name: str = "pets.zip", **other: Any) -> Any:
    said = {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), **other}
    return client.post("/uploads", json=said)


def part(client: TestClient, upload: dict[str, Any], offset: int, content: bytes) -> Any:
    return client.put(upload["urls"]["self"], params={"offset": offset}, content=content, headers=BINARY)


@pytest.fixture
def uploaded(client: TestClient) -> dict[str, Any]:
    upload = announce(client).json()
    return dict(part(client, upload, 0, CONTENT).json())


def make(client: TestClient, upload: dict[str, Any], wanted: dict[str, Any] | None = None) -> Any:
    return client.post("/datasets", json={"name": "packed/pets", "upload": upload["id"]} | (wanted or {}))


def test_a_file_that_comes_in_parts_becomes_a_job_that_no_list_of_distillations_has(
    client: TestClient, problem_in: Any
) -> None:
    made = announce(client)
    upload = made.json()
    first = part(client, upload, 0, CONTENT[:500]).json()
    unfinished = problem_in(make(client, upload), 422, "invalid")
    misplaced = problem_in(part(client, upload, 0, CONTENT[:500]), 409, "part_misplaced")
    again = announce(client)
    whole = part(client, upload, 500, CONTENT[500:]).json()

    assert (made.status_code, made.headers["location"]) == (201, upload["urls"]["self"])
    assert (first["received"], whole["received"]) == (500, len(CONTENT))
    assert unfinished["errors"][0]["message"] == "is not whole: 500 of its 11,000 bytes are there"
    assert misplaced["detail"].endswith("the next part begins at 500.")
    assert (again.status_code, again.json()) == (200, first)
    job, twice = make(client, upload, {"size": 32}), make(client, upload, {"size": 32})
    assert (job.status_code, twice.status_code) == (202, 200)
    assert job.json()["id"] == twice.json()["id"], "a job is at it"
    assert job.headers["location"] == job.json()["urls"]["self"]
    assert (job.json()["mode"], job.json()["status"]) == ("ingest", "queued")
    assert client.get("/jobs").json()["data"] == []
    assert [one["id"] for one in client.get("/jobs", params={"mode": "ingest"}).json()["data"]] == [job.json()["id"]]
    busy = problem_in(make(client, upload), 422, "invalid")
    assert busy["errors"][0]["pointer"] == "/name"
    assert job.json()["id"] in busy["errors"][0]["message"]


def test_a_file_stays_while_a_job_makes_a_data_set_of_it(
    client: TestClient, uploaded: dict[str, Any], problem_in: Any
) -> None:
    job = make(client, uploaded).json()
    refused = problem_in(client.delete(uploaded["urls"]["self"]), 409, "upload_in_use")
    client.post(job["urls"]["cancel"])

    assert job["id"] in refused["detail"]
    assert client.delete(uploaded["urls"]["self"]).status_code == 204
    problem_in(client.get(uploaded["urls"]["self"]), 404, "upload_not_found")
    gone = problem_in(make(client, uploaded), 422, "invalid")
    assert gone["errors"] == [
        {"in": "body", "pointer": "/upload", "message": "is not there, or no longer: POST /uploads, and bring the file"}
    ]
    retried = problem_in(client.post(job["urls"]["retry"], json={}), 422, "invalid")
    assert "POST /datasets once more" in retried["detail"]


def test_a_data_set_is_shown_and_deleted_but_not_under_a_job_that_learns_of_it(
    client: TestClient, uploaded: dict[str, Any], settings: Settings, submit: Any, worker: Any, problem_in: Any
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    facts = pack(settings.data_dir / layout.DATASETS, "packed/pets", [Chunk(images, np.arange(20) % 2)])
    taken = problem_in(make(client, uploaded), 422, "invalid")
    job = submit(config={"dataset": "packed/pets"})
    shown = client.get("/datasets/packed/pets").json()
    refused = problem_in(client.delete("/datasets/packed/pets"), 409, "dataset_in_use")
    worker.release(worker.claim(job), State.SUCCEEDED)

    assert "is there already" in taken["errors"][0]["message"]
    assert (shown["train"], shown["test"], shown["digest"]) == (facts.train, facts.test, facts.digest)
    assert shown in client.get("/datasets").json()["data"]
    assert job["id"] in refused["detail"]
    assert client.delete("/datasets/packed/pets").status_code == 204
    problem_in(client.get("/datasets/packed/pets"), 404, "dataset_not_found")
    problem_in(client.delete("/datasets/packed/pets"), 404, "dataset_not_found")
    assert client.get("/datasets/digits").json()["images"] == 1_797


@pytest.fixture
def examined(settings: Settings) -> Path:
    """The folder of a data set that was looked through."""
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    folder = settings.data_dir / layout.DATASETS
    pack(folder, "packed/pets", [Chunk(images, np.arange(20) % 2)])
    examine(folder, "packed/pets")
    return folder / "packed/pets"


def test_what_is_wrong_with_a_data_set_is_served_in_the_form_that_one_asks_for(
    client: TestClient, examined: Path
) -> None:
    url = client.get("/datasets/packed/pets").json()["urls"]["report"]
    page = (examined / "report.html").read_text()
    as_json = client.get(url)
    as_page = client.get(url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert (as_json.headers["content-type"], as_json.json()["name"]) == ("application/json", "packed/pets")
    assert (as_page.headers["content-type"], as_page.text) == ("text/html; charset=utf-8", page)
    assert client.get(url, params={"format": "html"}).text == page
    assert client.get(url, params={"format": "json"}, headers={"Accept": "text/html"}).json() == as_json.json()
    assert as_page.headers["vary"] == "Accept"
    assert as_page.headers["content-disposition"] == 'inline; filename="pets-report.html"'
    assert "sandbox" in as_page.headers["content-security-policy"]
    unchanged = client.get(url, headers={"If-None-Match": as_json.headers["etag"]})
    assert (unchanged.status_code, client.head(url).headers["content-length"]) == (304, str(len(as_json.content)))


def test_where_nobody_has_looked_it_is_said_who_does(client: TestClient, examined: Path, problem_in: Any) -> None:
    (examined / "report.html").unlink()
    (examined / "report.json").unlink()

    refused = problem_in(client.get("/datasets/packed/pets/report"), 404, "report_not_found")
    problem_in(client.get("/datasets/packed/other/report"), 404, "dataset_not_found")
    problem_in(client.get("/datasets/packed/pets/report", params={"format": "card"}), 422, "invalid")

    assert "`kd data doctor packed/pets --data <data_dir>` does on the server's machine" in refused["detail"]
    assert client.get("/datasets/digits").json()["urls"]["report"] is None


@pytest.mark.parametrize(
    ("said", "pointer", "why"),
    [
        ({"size": 0}, "/size", "greater than or equal to 1"),
        ({"size": 10**11}, "/size", "may be 20,000,000,000 bytes at most on this server"),
        ({"sha256": "abc"}, "/sha256", "match"),
        ({"name": ""}, "/name", "at least 1 character"),
        ({"url": "http://example.org/pets.zip"}, "/url", "no such field"),
    ],
)
def test_a_file_that_cannot_come_is_refused_before_it_does(
    lone_client: TestClient, problem_in: Any, said: dict[str, Any], pointer: str, why: str
) -> None:
    (fault,) = problem_in(announce(lone_client, **said), 422, "invalid")["errors"]

    assert fault["pointer"] == pointer
    assert why in fault["message"]


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"name": "pets"}, "/name"),
        ({"name": "packed/../x"}, "/name"),
        ({"upload": "x"}, "/upload"),
        ({"size": 0}, "/size"),
        ({"size": 100_000}, "/size"),
        ({"classes": ["cat", "cat"]}, "/classes"),
        ({"classes": ["cat"]}, "/classes"),
        ({"skip": True}, "/skip"),
    ],
)
def test_a_data_set_that_cannot_be_made_is_refused_with_the_place(
    lone_client: TestClient, problem_in: Any, wanted: dict[str, Any], pointer: str
) -> None:
    upload = announce(lone_client).json()
    part(lone_client, upload, upload["received"], CONTENT[upload["received"] :])

    faults = problem_in(make(lone_client, upload, wanted), 422, "invalid")["errors"]

    assert [fault["pointer"] for fault in faults] == [pointer]


def test_what_is_no_part_of_a_file_is_refused(
    lone_client: TestClient, problem_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = announce(lone_client, name="another.zip").json()

    problem_in(lone_client.put(upload["urls"]["self"], params={"offset": 0}, json={}), 415, "wrong_content_type")
    problem_in(part(lone_client, upload, -1, b"x"), 422, "invalid")
    problem_in(part(lone_client, upload, 0, b"x" * (uploads.PART_BYTES + 1)), 413, "body_too_large")
    problem_in(part(lone_client, {"urls": {"self": f"/uploads/{NOBODY}"}}, 0, b"x"), 404, "upload_not_found")
    problem_in(lone_client.get("/uploads/../../etc"), 404, "not_found")
    assert lone_client.get(upload["urls"]["self"]).json()["received"] == 0


def test_a_disk_without_room_takes_no_file(tmp_path: Path, problem_in: Any) -> None:
    with TestClient(build_app(Settings(data_dir=tmp_path, min_free_bytes=1, max_upload_bytes=10**13))) as client:
        refused = problem_in(announce(client, size=10**13), 507, "no_room")

    assert "beside the 10.0 TB that are to come" in refused["detail"]
    assert not (tmp_path / layout.UPLOADS).exists()


def test_the_upkeep_deletes_what_nobody_brings_on_and_no_job_wants(
    app: Any, client: TestClient, uploaded: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    abandoned = announce(client, name="abandoned.zip").json()
    make(client, uploaded)
    monkeypatch.setattr(stored, "abandoned", lambda data_dir: [abandoned["id"], uploaded["id"]])
    old, young = (settings.data_dir / layout.DATASETS / "packed" / f".pets.{each}" for each in ("old", "young"))
    for draft in (old, young):
        draft.mkdir(parents=True)
    os.utime(old, (0, 0))

    datasets.collect(app.state.database, settings.data_dir)

    assert client.get(abandoned["urls"]["self"]).status_code == 404
    assert client.get(uploaded["urls"]["self"]).status_code == 200
    assert (old.exists(), young.exists()) == (False, True)
