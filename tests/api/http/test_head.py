"""HEAD wherever there is GET: the same status and headers, and no content."""

from typing import Any

from starlette.testclient import TestClient

PAGES = ("/docs", "/openapi.json", "/static-offline-docs/favicon.png", "/nothing")


def test_whatever_can_be_got_answers_head_with_the_same_headers(lone_client: TestClient, lone_worker: Any) -> None:
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()
    claim = lone_worker.claim(job)
    lone_worker.publish(claim, b"student", step=1)
    lone_worker.publish_artifact(claim, "report.json", b"{}")
    # (Of an event that does not come: deliveries would change between the two requests.)
    webhook = lone_client.post("/webhooks", json={"url": "https://hooks.example/", "events": ["finished"]}).json()
    sweep = lone_client.post("/sweeps", json={"mode": "train", "space": {"config.seed": {"grid": [0]}}}).json()
    there = {"job_id": job["id"], "checkpoint": "best", "name": "report.json", "webhook_id": webhook["id"]}
    there["sweep_id"] = sweep["id"]
    nothing_there = {"table_id": "x", "teacher_id": "x", "upload_id": "x", "delivery_id": "x", "mode": "train"}
    document = lone_client.get("/openapi.json").json()["paths"]

    for path in (*(path for path, operations in document.items() if "get" in operations), *PAGES):
        url = path.format_map(there | nothing_there)
        got, head = (lone_client.request(method, url, headers={"X-Request-ID": "a"}) for method in ("GET", "HEAD"))
        assert (head.status_code, dict(head.headers)) == (got.status_code, dict(got.headers)), url
        assert head.content == b""


def test_head_of_a_stream_does_not_begin_one(lone_client: TestClient) -> None:
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()

    answer = lone_client.head(job["urls"]["events"], headers={"Accept": "text/event-stream"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_head_changes_nothing_and_is_no_way_to_what_only_others_take(lone_client: TestClient, problem_in: Any) -> None:
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()

    assert lone_client.head(job["urls"]["cancel"]).status_code == 405
    assert lone_client.get(job["urls"]["self"]).json()["status"] == "queued"
