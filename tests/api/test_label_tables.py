"""Label tables over HTTP: listed, looked at, downloaded, deleted; and no way to any other file."""

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from api.app import build_app
from jobs.settings import Settings
from kd.labels import table

SHAPE = (40, 3, 10)
FACTS = {
    "teacher": "7e" * 32,
    "teacher_arch": "cnn",
    "dataset": "da" * 32,
    "dataset_name": "mnist5k",
    "plan": {"crop_padding": 2, "flip": False},
    "precision": "torch.float32",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def client(data: Path) -> Any:
    with TestClient(build_app(Settings(data_dir=data))) as client:
        yield client


def id_of(number: int) -> str:
    return f"{number:032x}"


def write(data: Path, number: int, *, used_seconds_ago: float = 0) -> Path:
    path = data / "labels" / f"{id_of(number)}.npy"
    with table.try_to_write(path):
        table_NVC, kept = table.open_draft(path, SHAPE)
        table_NVC[:] = number
        table.finish(path, table_NVC, kept, FACTS, np.full((40, 3, 2), number, np.int32), ["top", "left"])
    used = time.time() - used_seconds_ago
    os.utime(path.with_suffix(".json"), (used, used))
    return path


def draft(data: Path, number: int) -> Path:
    path = data / "labels" / f"{id_of(number)}.npy"
    with table.try_to_write(path):
        table.open_draft(path, SHAPE)
    return path


def test_a_table_shows_whose_labels_of_what_it_holds_and_where_to_get_them(client: TestClient, data: Path) -> None:
    path = write(data, 7)
    url = f"/label-tables/{id_of(7)}"

    shown = client.get(url).json()

    assert client.get("/label-tables").json()["data"] == [shown]
    assert (shown["object"], shown["id"], shown["status"]) == ("label_table", id_of(7), "complete")
    assert (shown["teacher_arch"], shown["teacher_digest"]) == ("cnn", "7e" * 32)
    assert (shown["dataset"], shown["dataset_digest"]) == ("mnist5k", "da" * 32)
    assert (shown["plan"], shown["precision"]) == (FACTS["plan"], "torch.float32")
    assert shown["size"] == sum(file.stat().st_size for file in path.parent.iterdir())
    for name, content, shape in (
        ("labels", path.read_bytes(), [40, 3, 10]),
        ("view_parameters", path.with_suffix(".views.npy").read_bytes(), [40, 3, 2]),
    ):
        said = shown[name]
        assert (said["size"], said["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert said["shape"] == shape
    assert shown["pooled"] == 0
    assert shown["view_parameters"]["columns"] == ["top", "left"]
    assert shown["created_at"] <= shown["used_at"]
    assert shown["created_at"].endswith("Z")
    assert shown["urls"] == {"self": url, "download": f"{url}/download", "views": f"{url}/views"}


def test_both_files_are_downloaded_like_checkpoints_and_numpy_reads_them(client: TestClient, data: Path) -> None:
    path = write(data, 7)
    urls = client.get(f"/label-tables/{id_of(7)}").json()["urls"]

    for url, file, dtype in (
        (urls["download"], path, "float16"),
        (urls["views"], path.with_suffix(".views.npy"), "int32"),
    ):
        content = file.read_bytes()
        whole, part = client.get(url), client.get(url, headers={"Range": "bytes=100-"})
        etag = f'"{hashlib.sha256(content).hexdigest()}"'

        assert whole.content == content
        array = np.load(io.BytesIO(whole.content))
        assert (array.dtype, array.shape[:2]) == (dtype, (40, 3))
        assert (array == 7).all()
        assert (whole.headers["etag"], part.headers["etag"]) == (etag, etag)
        assert whole.headers["repr-digest"].startswith("sha-256=:")
        assert whole.headers["content-disposition"] == f'attachment; filename="{file.name}"'
        assert (part.status_code, part.content) == (206, content[100:])
        assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
        head = client.head(url)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))


def test_the_list_goes_page_by_page_from_the_last_use_back(client: TestClient, data: Path) -> None:
    assert client.get("/label-tables").json() == {"object": "list", "data": [], "has_more": False, "next_cursor": None}
    for number, seconds in ((1, 50), (2, 10), (3, 40), (4, 20), (5, 20)):
        write(data, number, used_seconds_ago=seconds)

    seen, pages, cursor = [], 0, None
    while pages == 0 or cursor:
        page = client.get("/label-tables", params={"limit": 2, **({"after": cursor} if cursor else {})}).json()
        seen += [int(table["id"], 16) for table in page["data"]]
        pages, cursor = pages + 1, page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
        if pages == 1:
            assert client.delete(f"/label-tables/{id_of(seen[-1])}").status_code == 204

    assert (seen, pages) == ([2, 5, 4, 3, 1], 3)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=x", f"after={'1' * 15}-{'a' * 32}", "of=me"])
def test_a_query_that_makes_no_sense_is_refused(client: TestClient, problem_in: Any, query: str) -> None:
    problem_in(client.get(f"/label-tables?{query}"), 422, "invalid")


def test_a_deleted_table_is_gone_from_the_disk_and_whoever_reads_it_goes_on(
    client: TestClient, data: Path, problem_in: Any
) -> None:
    read_by_a_run = table.read(write(data, 7))
    url = f"/label-tables/{id_of(7)}"

    answer = client.delete(url)

    assert (answer.status_code, answer.content) == (204, b"")
    assert list((data / "labels").iterdir()) == []
    assert read_by_a_run is not None
    assert (read_by_a_run == 7).all()
    for method, path in (("DELETE", ""), ("GET", ""), ("GET", "/download"), ("GET", "/views")):
        problem_in(client.request(method, url + path), 404, "label_table_not_found")


def test_a_table_that_is_being_written_is_shown_but_neither_deleted_nor_downloaded(
    client: TestClient, data: Path, problem_in: Any
) -> None:
    path = draft(data, 7)
    url = f"/label-tables/{id_of(7)}"

    with table.try_to_write(path):
        shown = client.get(url).json()
        problem_in(client.delete(url), 409, "label_table_busy")
        problem_in(client.get(f"{url}/download"), 409, "label_table_unfinished")
        problem_in(client.get(f"{url}/views"), 409, "label_table_unfinished")

    assert (shown["status"], shown["labels"], shown["teacher_digest"]) == ("being_written", None, None)
    assert shown["size"] > 2 * 40 * 3 * 10
    assert client.get(url).json()["status"] == "abandoned"
    assert client.delete(url).status_code == 204


@pytest.mark.parametrize(
    "name",
    [id_of(1), "x", "A" * 32, "%2e%2e", "%2e%2e%2fstillhouse.db", "%00", "٣" * 32, f"{'a' * 32}%0a", "a" * 3_000],
)
def test_what_is_no_table_is_not_found(client: TestClient, data: Path, problem_in: Any, name: str) -> None:
    (data / "labels").mkdir(exist_ok=True)
    before = list((data / "labels").iterdir())

    for method, path in (("GET", ""), ("GET", "/download"), ("GET", "/views"), ("DELETE", "")):
        problem_in(client.request(method, f"/label-tables/{name}{path}"), 404)

    assert list((data / "labels").iterdir()) == before


def test_a_link_is_no_table(client: TestClient, data: Path, problem_in: Any) -> None:
    path = write(data, 7)
    secret = data / "secret"
    secret.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(secret)

    problem_in(client.get(f"/label-tables/{id_of(7)}/download"), 409, "label_table_unfinished")
