"""Photos through the client: sent in parts, on from where they were cut off, and only once."""

import hashlib
import itertools

import numpy as np
import pytest
from PIL import Image

from client import ClientError
from client.errors import Unreachable
from jobs.files import layout
from kd.data.packing import Chunk, pack


@pytest.fixture
def pets(tmp_path):
    """A folder of photos, a hundred kilobytes of it."""
    chance = np.random.default_rng(0)
    for kind, number in itertools.product(("cat", "dog"), range(4)):
        path = tmp_path / "pets" / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    return tmp_path / "pets"


def test_a_folder_is_sent_as_one_file_and_goes_on_where_it_was_cut_off(client, server, pets, monkeypatch):
    monkeypatch.setattr("client.datasets.PART_BYTES", 10_000)
    seen: list[tuple[int, int]] = []

    class Enough(Exception):
        pass

    def stop(sent: int, total: int) -> None:
        seen.append((sent, total))
        if sent >= 30_000:
            raise Enough

    with pytest.raises(Enough):
        client.push_dataset(pets, "packed/pets", progress=stop)
    cut_off_at = len(seen)
    job = client.push_dataset(pets, "packed/pets", size=16, progress=lambda *each: seen.append(each))

    assert [sent for sent, _ in seen[:cut_off_at]] == [0, 10_000, 20_000, 30_000]
    assert seen[cut_off_at] == (30_000, seen[0][1])
    assert seen[-1][0] == seen[-1][1]
    assert job["mode"] == "ingest"
    assert job["resolved_spec"]["config"]["size"] == 16
    (stored,) = (server.data / layout.UPLOADS / job["resolved_spec"]["config"]["upload"]).glob("*.zip")
    announced = client._http.request_json("GET", f"/uploads/{job['resolved_spec']['config']['upload']}")
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == announced["sha256"]
    client.cancel(job["id"])


def test_a_part_whose_answer_was_lost_is_not_sent_twice(client, server, pets, monkeypatch):
    monkeypatch.setattr("client.datasets.PART_BYTES", 40_000)
    request, lost = client._http.request, iter([False, True, False, True])

    def lose_some(method, path, **how):
        answer = request(method, path, **how)
        if method == "PUT" and next(lost, False):
            raise Unreachable(client.url, "it took too long")
        return answer

    monkeypatch.setattr(client._http, "request", lose_some)
    seen = []
    job = client.push_dataset(pets, "packed/lossy", progress=lambda sent, total: seen.append(sent))

    assert seen == sorted(set(seen)), "each part once"
    client.cancel(job["id"])


def test_a_name_that_is_taken_is_said_before_anything_is_sent(client, server, pets):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    pack(server.data / layout.DATASETS, "packed/taken", [Chunk(images, np.arange(20) % 2)])

    with pytest.raises(ClientError, match="There is a data set packed/taken already"):
        client.push_dataset(pets, "packed/taken")

    assert next(each for each in client.datasets() if each["name"] == "packed/taken")["images"] == 20
    client.delete_dataset("packed/taken")
    assert all(each["name"] != "packed/taken" for each in client.datasets())
