"""A download is whole and right, or nothing is in its place; what was there of it is not fetched again."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client import Client
from client.errors import BadDownload, DownloadBusy, Refused
from tests.support.relaying import relay
from tests.support.served import Worker
from tests.support.waiting import HANG_SECONDS, wait_until

STUDENT = os.urandom(300_000)


@pytest.fixture
def job(client, worker):
    """A job with one checkpoint, and where the server keeps the student."""
    submitted = client.submit("train")
    claim = worker.claim(submitted["id"])
    return submitted["id"], worker.publish(claim, STUDENT), claim


def part_of(target: Path, content: bytes) -> Path:
    return target.with_name(f".{target.name}.{hashlib.sha256(content).hexdigest()[:16]}.part")


def test_a_student_arrives_whole_and_alone(client, job, tmp_path):
    target = tmp_path / "new" / "student.safetensors"

    path = client.download(job[0], to=target)

    assert path == target
    assert target.read_bytes() == STUDENT
    assert [file.name for file in target.parent.iterdir()] == [target.name]


def test_in_a_folder_it_is_named_after_job_and_checkpoint(client, job, tmp_path):
    assert client.download(job[0], "last", to=tmp_path) == tmp_path / f"{job[0]}-last.safetensors"


# A network that spoils the first bytes of it on their way.
SPOILT = {STUDENT[:8]: bytes(8)}


def test_a_part_that_is_there_is_not_fetched_again(server, job, tmp_path):
    target = tmp_path / "student.safetensors"
    part_of(target, STUDENT).write_bytes(STUDENT[:200_000])

    # Should the client ask for the first part again, it would get another one, and notice.
    with relay(server.url, SPOILT) as network, Client(network.url) as far:
        far.download(job[0], to=target)

    assert target.read_bytes() == STUDENT


@pytest.mark.parametrize("damaged", [b"x" * 1000, b"x" * 300_000, b"x" * 400_000])
def test_a_damaged_part_is_given_up_for_a_fresh_start(client, job, tmp_path, damaged):
    target = tmp_path / "student.safetensors"
    part_of(target, STUDENT).write_bytes(damaged)

    client.download(job[0], to=target)

    assert target.read_bytes() == STUDENT
    assert not part_of(target, STUDENT).exists()


def test_a_part_of_another_file_is_left_alone(client, job, tmp_path):
    target = tmp_path / "student.safetensors"
    part_of(target, b"another").write_bytes(b"ano")

    client.download(job[0], to=target)

    assert target.read_bytes() == STUDENT
    assert part_of(target, b"another").read_bytes() == b"ano"


def test_what_is_there_already_is_not_asked_for(client, job, tmp_path):
    job_id, stored, _ = job
    target = client.download(job_id, to=tmp_path / "student.safetensors")
    stored.write_bytes(bytes(len(STUDENT)))

    client.download(job_id, to=target)

    assert target.read_bytes() == STUDENT


def test_content_that_is_not_what_was_promised_never_takes_the_place(server, job, tmp_path):
    target = tmp_path / "student.safetensors"
    target.write_bytes(b"precious")

    with relay(server.url, SPOILT) as network, Client(network.url) as far, pytest.raises(BadDownload, match="sha256"):
        far.download(job[0], to=target)

    assert target.read_bytes() == b"precious"
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


def test_a_file_that_is_damaged_on_the_server_is_a_sentence(client, job, tmp_path):
    job_id, stored, _ = job
    stored.write_bytes(bytes(len(STUDENT)))  # same size, other bytes

    with pytest.raises(Refused, match="not what was written") as refused:
        client.download(job_id, to=tmp_path)

    assert refused.value.code == "file_damaged"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_on_the_server_is_a_sentence(client, job, tmp_path):
    job_id, stored, _ = job
    stored.unlink()

    with pytest.raises(Refused, match="no longer there") as refused:
        client.download(job_id, to=tmp_path)

    assert refused.value.code == "file_gone"
    assert list(tmp_path.iterdir()) == []


def test_two_downloads_to_one_place_do_not_mix(client, job, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    target = tmp_path / "student.safetensors"
    with open(part_of(target, STUDENT), "ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)

        with pytest.raises(DownloadBusy):
            client.download(job[0], to=target)

    client.download(job[0], to=target)
    assert target.read_bytes() == STUDENT


def test_an_artifact_comes_in_the_same_way(client, job, worker, tmp_path):
    worker.publish_artifact(job[2], "report.json", b'{"gain": 0.01}')

    path = client.download_artifact(job[0], "report.json", to=tmp_path)

    assert path == tmp_path / f"{job[0]}-report.json"
    assert path.read_bytes() == b'{"gain": 0.01}'


def test_a_report_is_what_the_job_wrote(client, job, worker):
    worker.publish_artifact(job[2], "report.json", b'{"gain": 0.01, "disputed": [{"label": "NaN"}]}')

    assert client.report(job[0]) == {"gain": 0.01, "disputed": [{"label": "NaN"}]}


def test_a_download_goes_on_when_the_server_was_killed_in_the_middle(own_server, tmp_path):
    content = os.urandom(16_000_000)  # more than the buffers on the way hold
    target = tmp_path / "student.safetensors"
    with Client(own_server.url) as client:
        job = client.submit("train")["id"]
    worker = Worker(own_server)
    worker.publish(worker.claim(job), content)
    part = part_of(target, content)

    with relay(own_server.url) as network, Client(network.url) as far, ThreadPoolExecutor() as executor:
        network.stall_after = 1_000_000
        downloading = executor.submit(far.download, job, "best", target)
        assert network.stalled.wait(HANG_SECONDS)
        wait_until(lambda: part.exists() and 0 < part.stat().st_size < len(content))
        own_server.end(by=9)
        own_server.start()
        network.stall_after = None
        network.break_all()
        downloading.result()

    assert sum(b"/download" in request for request in network.requests) == 2
    assert target.read_bytes() == content
