"""The log of a job: its end, decoded, however long it is."""

import tracemalloc
from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient

from jobs.tables import FileKind

Submit = Callable[..., dict[str, Any]]


def test_the_log_ends_with_the_newest_lines_of_the_newest_attempt(
    client: TestClient, submit: Submit, worker: Any, problem_in: Any
) -> None:
    job = submit()
    url = job["urls"]["logs"]
    assert client.get(url).text == ""

    claim = worker.claim(job)
    assert client.get(url).text == ""
    folder = worker.app.state.settings.data_dir / "jobs" / job["id"] / "attempt-1"
    folder.mkdir(parents=True)
    (folder / "trainer.log").write_bytes(b"".join(b"line %d\n" % n for n in range(200_000)) + b"caf\xe9\n")

    answer = client.get(url, params={"tail": 3})
    assert answer.text == "line 199998\nline 199999\ncaf\ufffd\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert len(client.get(url).text.splitlines()) == 1_000
    assert len(client.get(url, params={"tail": 10_000}).text.splitlines()) == 10_000
    assert client.get(url, params={"attempt": claim.attempt + 1}).text == ""
    for query in ("tail=0", "tail=10001", "attempt=0", "attempt=x", "lines=3"):
        problem_in(client.get(f"{url}?{query}"), 422)


def test_of_a_log_of_a_million_lines_few_are_in_memory(lone_client: TestClient, lone_worker: Any) -> None:
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()
    lone_worker.write(lone_worker.claim(job), FileKind.ARTIFACT, "trainer.log", b"a\n" * 2**20)

    tracemalloc.start()
    try:
        answer = lone_client.get(job["urls"]["logs"], params={"tail": 2})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer.text == "a\na\n"
    assert peak < 10_000_000
