"""What there is to choose from, health, the OpenAPI document and its pages."""

import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import build_app
from jobs.database import migrate
from jobs.queue import submit
from jobs.settings import Settings
from kd import spec
from kd.models.catalog import FAMILIES, MODELS
from tests.support.waiting import HANG_SECONDS


def test_every_model_is_listed_with_its_family(lone_client: TestClient) -> None:
    models = lone_client.get("/models").json()["data"]

    assert [model["name"] for model in models] == list(MODELS)
    assert {model["family"] for model in models} == set(FAMILIES) - {"onnx"}, "which nobody trains"
    by_name = {model["name"]: model for model in models}
    assert by_name["cnn"]["extra"] is None
    assert by_name["timm/resnet18"]["extra"] == "zoo"
    assert 11_000_000 < by_name["timm/resnet18"]["parameters"] < 12_000_000
    assert by_name["timm/resnet18"]["macs"] > 500_000_000


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_the_schema_of_a_mode_accepts_what_the_server_accepts(lone_client: TestClient, mode: str) -> None:
    answer = lone_client.get(f"/schemas/{mode}")
    schema = answer.json()

    assert answer.headers["content-type"] == "application/schema+json"
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"mode": mode, "config": {}, "name": "x", "labels": {"a": "b"}, "priority": 3})
    assert not validator.is_valid({"mode": mode, "config": {"epochs": 0}})
    assert not validator.is_valid({"mode": mode, "config": {"nothing": 0}})
    assert not validator.is_valid({"mode": mode, "config": {}, "name": "a\nb"})
    assert not validator.is_valid({"mode": mode, "config": {}, "labels": {"-": "b"}})


def test_a_mode_that_is_none_is_told_the_modes(lone_client: TestClient, problem_in: Any) -> None:
    assert "train, guide" in problem_in(lone_client.get("/schemas/trian"), 404, "mode_not_found")["detail"]


def test_a_server_is_ready_once_its_tables_are_there(empty_database_url: str, tmp_path: Path, problem_in: Any) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=empty_database_url)

    with TestClient(build_app(settings)) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        if empty_database_url.startswith("postgresql"):
            assert "alembic upgrade head" in problem_in(client.get("/readyz"), 503, "not_ready")["detail"]
            migrate.upgrade(empty_database_url)
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.post("/jobs", json={"mode": "train", "config": {}}).status_code == 201


def test_a_server_is_ready_while_somebody_writes(client: TestClient, app: FastAPI) -> None:
    with app.state.database.begin() as session:
        submit.add_job(session, spec.parse({"mode": "train", "config": {}}))

        assert client.get("/readyz").json() == {"status": "ready"}


# -- OpenAPI ----------------------------------------------------------------------------------------------


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(inner) for inner in node.values()))
    return set().union(*(references(inner) for inner in node)) if isinstance(node, list) else set()


def test_the_openapi_document_is_whole(lone_client: TestClient) -> None:
    document = lone_client.get("/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    for reference in references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)
    # For /schemas/{mode} and the like: every parameter of a path is described.
    for path, operations in document["paths"].items():
        for operation in operations.values():
            described = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert described == set(re.findall(r"{(\w+)}", path)), path


def test_every_operation_says_what_its_errors_look_like(lone_client: TestClient) -> None:
    document = lone_client.get("/openapi.json").json()

    for path, operations in document["paths"].items():
        for operation in operations.values():
            errors = {
                status: it for status, it in operation["responses"].items() if status == "default" or status >= "400"
            }
            assert {"400", "408", "413", "421", "422", "431", "503", "default"} <= set(errors), path
            for response in errors.values():
                assert response["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
    assert {"400", "413", "415", "422"} <= set(document["paths"]["/jobs"]["post"]["responses"])
    assert "409" in document["paths"]["/jobs/{job_id}/cancel"]["post"]["responses"]


def test_every_parameter_with_a_form_says_which(lone_client: TestClient) -> None:
    document = lone_client.get("/openapi.json").json()
    free = {"name", "q", "label", "created_after", "names", "prefer", "Range", "If-Modified-Since"}
    free |= {"If-Unmodified-Since"}

    for path, operations in document["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                schema = parameter["schema"]
                kinds = {one.get("type") for one in (schema, *schema.get("anyOf", ()))}
                has_form = "pattern" in schema or any("enum" in one for one in (schema, *schema.get("anyOf", ())))
                assert "string" not in kinds or has_form or parameter["name"] in free, (path, parameter)


def test_cursors_have_the_form_that_they_are_said_to_have(lone_client: TestClient) -> None:
    document = lone_client.get("/openapi.json").json()
    for _ in range(2):
        lone_client.post("/jobs", json={"mode": "train", "config": {}})
    cursor = lone_client.get("/jobs?limit=1").json()["next_cursor"]

    (after,) = [one for one in document["paths"]["/jobs"]["get"]["parameters"] if one["name"] == "after"]
    assert re.search(after["schema"]["pattern"], cursor)
    assert not re.search(after["schema"]["pattern"], cursor + "x")
    assert lone_client.get("/jobs", params={"after": cursor + "x"}).status_code == 422


def test_real_answers_are_as_the_document_says(lone_client: TestClient, lone_worker: Any) -> None:
    document = lone_client.get("/openapi.json").json()

    def check(schema: dict[str, Any], answer: Any) -> None:
        jsonschema.validate(answer, schema | {"components": document["components"]}, jsonschema.Draft202012Validator)

    job = lone_client.post("/jobs", json={"mode": "guide", "config": {}}).json()
    claim = lone_worker.claim(job)
    lone_worker.publish(claim, b"student", step=1)
    lone_worker.publish_artifact(claim, "report.json", b"{}")
    webhook = lone_client.post("/webhooks", json={"url": "https://hooks.example/", "events": ["state"]}).json()
    sweep = lone_client.post("/sweeps", json={"mode": "train", "space": {"config.seed": {"grid": [0]}}}).json()
    there = {"job_id": job["id"], "checkpoint": "best", "name": "report.json", "webhook_id": webhook["id"]}
    there["sweep_id"] = sweep["id"]
    for path in document["paths"]:
        # Of tables, teachers, uploads and workers there are none, nor a data set of that name.
        none = "{table_id}" in path or path in ("/workers/{name}", "/teachers/{teacher_id}", "/uploads/{upload_id}")
        none |= path.startswith("/datasets/")
        if "get" not in document["paths"][path] or none:
            continue
        operation = document["paths"][path]["get"]
        answer = lone_client.get(path.format(**there, mode="guide"))
        assert answer.status_code == 200, path
        content = operation["responses"]["200"]["content"]
        media_type = answer.headers["content-type"].partition(";")[0]
        assert media_type in content, path
        if media_type == "application/json" and "{name}" not in path:
            check(content[media_type]["schema"], answer.json())
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                assert re.search(parameter["schema"]["pattern"], (there | {"mode": "guide"})[parameter["name"]])
                assert not re.search(parameter["schema"]["pattern"], "a b")
    check({"$ref": "#/components/schemas/Problem"}, lone_client.get("/jobs?limit=0").json())


def test_the_documentation_loads_nothing_from_elsewhere(lone_client: TestClient) -> None:
    page = lone_client.get("/docs").text

    assert "http://" not in page
    assert "https://" not in page
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert asset.startswith("/"), asset
        assert lone_client.get(asset).status_code == 200
    assert '"validatorUrl": null' in page


def test_the_server_loads_neither_torch_nor_numpy() -> None:
    heavy = "{'torch', 'torchvision', 'numpy'}"
    check = f"import sys, api.app; loaded = {heavy} & set(sys.modules); assert not loaded, loaded"

    subprocess.run([sys.executable, "-c", check], check=True, cwd=Path(__file__).parents[2])


def test_the_server_says_that_it_lives_when_all_its_threads_are_taken(tmp_path: Path) -> None:
    app, gate, taken = build_app(Settings(data_dir=tmp_path)), threading.Event(), threading.Semaphore(0)

    @app.get("/slow")
    def slow() -> None:
        taken.release()
        gate.wait()

    with TestClient(app) as client, ThreadPoolExecutor(60) as people:
        try:
            for _ in range(50):
                people.submit(client.get, "/slow")
            for _ in range(40):  # as many as there are for all routes
                assert taken.acquire(timeout=HANG_SECONDS)
            assert people.submit(client.get, "/healthz").result(HANG_SECONDS).status_code == 200
        finally:
            gate.set()
