"""Checkpoints and artifacts: whole, in part, not at all, and never anything else."""

import base64
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.http import download

Submit = Callable[..., dict[str, Any]]

CONTENT = random.Random(0).randbytes(700_001)
SHA256 = hashlib.sha256(CONTENT)
ETAG = f'"{SHA256.hexdigest()}"'


@pytest.fixture(scope="module")
def url(lone_client: TestClient, lone_worker: Any) -> str:
    """The last of a job's two checkpoints; the best one is empty."""
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()
    claim = lone_worker.claim(job)
    lone_worker.publish(claim, b"", step=1)
    lone_worker.publish(claim, CONTENT, step=2, best=False)
    return f"{job['urls']['checkpoints']}/last/download"


def test_a_checkpoint_is_found_by_its_id_and_by_its_aliases(client: TestClient, submit: Submit, worker: Any) -> None:
    job = submit()
    claim = worker.claim(job)
    best = worker.publish(claim, b"good", step=1, best=True)
    last = worker.publish(claim, b"less so", step=2, best=False)
    url = job["urls"]["checkpoints"]

    listed = client.get(url).json()["data"]

    assert {shown["id"]: shown["best"] for shown in listed} == {best: True, last: False}
    assert {shown["file"] for shown in listed} == {"student.safetensors"}
    for name, known in (("best", best), ("last", last), (best, best), (last, last)):
        shown = client.get(f"{url}/{name}").json()
        assert shown["id"] == known
        assert shown in listed
    shown = client.get(f"{url}/best").json()
    assert shown["metrics"] == {"student.validation.top1": 0.9}
    assert client.get(shown["urls"]["download"]).content == b"good"
    assert shown["sha256"] == hashlib.sha256(b"good").hexdigest()


def test_what_is_no_checkpoint_is_not_found(client: TestClient, submit: Submit, worker: Any, problem_in: Any) -> None:
    other = submit()
    elsewhere = worker.publish(worker.claim(other), b"x", step=1)
    job = submit()

    for name in ("best", "last", "worst", elsewhere, "ckpt_01J00000000000000000000000", "%00", "x" * 3_000):
        problem_in(client.get(f"{job['urls']['checkpoints']}/{name}"), 404, "checkpoint_not_found")
        problem_in(client.get(f"{job['urls']['checkpoints']}/{name}/download"), 404, "checkpoint_not_found")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}])
def test_a_file_that_is_not_what_was_written_is_not_handed_out(
    lone_client: TestClient, lone_worker: Any, problem_in: Any, headers: dict[str, str]
) -> None:
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()
    lone_worker.publish(lone_worker.claim(job), CONTENT, step=1)
    (path,) = (lone_worker.app.state.settings.data_dir / "jobs" / job["id"]).rglob("*.safetensors")
    flip_a_bit(path)

    answer = lone_client.get(f"{job['urls']['checkpoints']}/best/download", headers=headers)

    problem_in(answer, 410, "file_damaged")


def test_a_large_file_that_is_not_what_was_written_does_not_come_to_its_end(
    lone_client: TestClient, lone_worker: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "CHECKED_BEFORE_BYTES", 1_000)
    assert lone_client.get(url).content == CONTENT
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()
    lone_worker.publish(lone_worker.claim(job), CONTENT, step=1)
    (path,) = (lone_worker.app.state.settings.data_dir / "jobs" / job["id"]).rglob("*.safetensors")
    flip_a_bit(path)

    with pytest.raises(download.CutOff, match="is not what was written"):  # to a client: a cut connection
        lone_client.get(f"{job['urls']['checkpoints']}/best/download")


def test_a_download_carries_its_digest_and_its_name(lone_client: TestClient, url: str) -> None:
    answer = lone_client.get(url)

    assert answer.status_code == 200
    assert answer.content == CONTENT
    assert answer.headers["etag"] == ETAG
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(SHA256.digest()).decode()}:"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["content-disposition"] == 'attachment; filename="student.safetensors"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/octet-stream"


def test_head_says_the_same_without_the_content(lone_client: TestClient, url: str) -> None:
    whole, head = lone_client.get(url), lone_client.head(url, headers={"Range": "bytes=0-9"})

    assert head.status_code == 200
    assert head.content == b""
    named = ("etag", "repr-digest", "content-length", "content-type", "accept-ranges", "content-disposition")
    assert {name: head.headers[name] for name in named} == {name: whole.headers[name] for name in named}


SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-299999", 0, 300_000),
        ("bytes=300000-", 300_000, SIZE),
        ("bytes=-5", SIZE - 5, SIZE),
        ("bytes=5-99999999999", 5, SIZE),
        ("Bytes = 5-6", 5, 7),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
def test_a_part_may_be_asked_for(lone_client: TestClient, url: str, wanted: str, start: int, stop: int) -> None:
    answer = lone_client.get(url, headers={"Range": wanted})

    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.headers["etag"] == ETAG
    assert answer.content == CONTENT[start:stop]


def test_a_broken_download_goes_on_only_if_the_file_is_the_same(lone_client: TestClient, url: str) -> None:
    same = lone_client.get(url, headers={"Range": "bytes=700000-", "If-Range": ETAG})
    other = lone_client.get(url, headers={"Range": "bytes=700000-", "If-Range": '"other"'})
    weak = lone_client.get(url, headers={"Range": "bytes=700000-", "If-Range": f"W/{ETAG}"})

    assert (same.status_code, same.content) == (206, CONTENT[700_000:])
    assert (other.status_code, other.content) == (200, CONTENT)
    assert weak.status_code == 200


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0"])
def test_a_part_behind_the_end_cannot_be_had(lone_client: TestClient, url: str, problem_in: Any, wanted: str) -> None:
    answer = lone_client.get(url, headers={"Range": wanted})

    problem_in(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "wanted", ["bytes=5-3", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "", "bytes=" + "9" * 5_000 + "-"]
)
def test_a_range_that_makes_no_sense_here_gets_the_whole_file(lone_client: TestClient, url: str, wanted: str) -> None:
    answer = lone_client.get(url, headers={"Range": wanted})

    assert (answer.status_code, len(answer.content)) == (200, SIZE)


def test_an_empty_file_can_be_downloaded(lone_client: TestClient, url: str, problem_in: Any) -> None:
    best = url.replace("/last/", "/best/")

    assert (lone_client.get(best).status_code, lone_client.get(best).content) == (200, b"")
    problem_in(lone_client.get(best, headers={"Range": "bytes=0-"}), 416)


@pytest.mark.parametrize("known", [ETAG, f'"other", {ETAG}', f"W/{ETAG}", "*"])
def test_a_client_that_has_the_file_is_sent_nothing(lone_client: TestClient, url: str, known: str) -> None:
    for method in ("GET", "HEAD"):
        answer = lone_client.request(method, url, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", ETAG)
    assert lone_client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


PAST, FUTURE = "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
OTHER = '"other"'


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If-Match": ETAG}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": OTHER}, 412),
        ({"If-Match": f"W/{ETAG}"}, 412),
        ({"If-Unmodified-Since": FUTURE}, 200),
        ({"If-Unmodified-Since": PAST}, 412),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": FUTURE}, 304),
        ({"If-Modified-Since": PAST}, 200),
        ({"If-Modified-Since": "2100"}, 200),
        # Which of them counts where there are several: RFC 9110, 13.2.2.
        ({"If-Match": ETAG, "If-Unmodified-Since": PAST}, 200),
        ({"If-Match": ETAG, "If-None-Match": ETAG}, 304),
        ({"If-Match": OTHER, "If-None-Match": ETAG}, 412),
        ({"If-Unmodified-Since": PAST, "If-None-Match": ETAG}, 412),
        ({"If-None-Match": OTHER, "If-Modified-Since": FUTURE}, 200),
        ({"If-Match": OTHER, "Range": "bytes=0-9", "If-Range": ETAG}, 412),
        ({"If-Match": ETAG, "Range": "bytes=0-9"}, 206),
        ({"Range": "bytes=0-9", "If-Range": FUTURE}, 200),
    ],
)
def test_a_file_is_sent_only_if_it_is_as_the_client_wants_it(
    lone_client: TestClient, url: str, problem_in: Any, conditions: dict[str, str], status: int
) -> None:
    answer = lone_client.get(url, headers=conditions)

    assert answer.status_code == status
    assert answer.headers["etag"] == ETAG
    if status == 412:
        problem_in(answer, 412, "precondition_failed")
    if "Range" not in conditions:
        assert lone_client.head(url, headers=conditions).status_code == status


def test_a_file_says_when_it_was_made_and_a_client_that_has_it_since_then_is_sent_nothing(
    lone_client: TestClient, url: str
) -> None:
    made = lone_client.get(url).headers["last-modified"]

    assert lone_client.get(url, headers={"If-Modified-Since": made}).status_code == 304
    assert lone_client.get(url, headers={"If-Unmodified-Since": made}).status_code == 200


def test_a_file_that_is_not_as_its_row_says_is_never_sent(
    client: TestClient, worker: Any, submit: Submit, problem_in: Any
) -> None:
    job = submit()
    claim = worker.claim(job)
    worker.publish(claim, b"whole", step=1)
    url = f"{job['urls']['checkpoints']}/best/download"
    [path] = worker.app.state.settings.data_dir.rglob("student-1.safetensors")

    path.write_bytes(b"who")
    problem_in(client.get(url), 410, "file_gone")
    assert client.head(url).status_code == 410
    path.unlink()
    problem_in(client.get(url), 410, "file_gone")
    path.symlink_to("/etc/hostname")
    problem_in(client.get(url), 410, "file_gone")


def test_artifacts_are_listed_and_downloaded_by_name(
    client: TestClient, submit: Submit, worker: Any, problem_in: Any
) -> None:
    job = submit()
    claim = worker.claim(job)
    worker.publish(claim, b"student", step=1)
    worker.publish_artifact(claim, "report.json", b"{}")
    url = job["urls"]["artifacts"]

    [listed] = client.get(url).json()["data"]
    answer = client.get(listed["urls"]["download"])

    assert (listed["name"], listed["size"], listed["sha256"]) == ("report.json", 2, hashlib.sha256(b"{}").hexdigest())
    assert (answer.content, answer.headers["content-type"]) == (b"{}", "application/json")
    assert answer.headers["content-disposition"] == 'attachment; filename="report.json"'
    for name in ("resume.pt", "student.safetensors", "other", "%2e%2e", "%2e%2e%2fstillhouse.db", "%00", "a" * 300):
        problem_in(client.get(f"{url}/{name}"), 404)
