"""The OpenAPI document: what FastAPI finds in the routes, plus bodies that routes read themselves, and errors."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.http import idempotency
from api.http.body import REF
from api.http.problems import Problem
from api.jobs.body import SUBMISSIONS, Retry
from jobs import ids
from jobs.envelope import Change
from jobs.files import layout
from jobs.files.uploads import Announced
from jobs.sweeps.plan import Plan
from kd.labels import cache
from kd.spec.evaluate import Evaluate
from kd.spec.export import Export
from kd.spec.ingest import Ingest

PROBLEM = {"application/problem+json": {"schema": {"$ref": REF.format(model=Problem.__name__)}}}


_TAG = r'(W/)?"[^"]*"'
TAGS = rf"\*|{_TAG}(\s*,\s*{_TAG})*"
# Parameters that have a form: what has another one is answered 404 or 422, in words of its route.
FORMS: dict[str, str] = {
    "job_id": ids.pattern("job"),
    "checkpoint": f"best|last|{ids.pattern('ckpt')}",
    "webhook_id": ids.pattern("hook"),
    "delivery_id": ids.pattern("dlv"),
    "sweep_id": ids.pattern("sweep"),
    "table_id": cache.ID.pattern,
    "mode": "|".join(SUBMISSIONS),
    "if-match": TAGS,
    "if-none-match": TAGS,
    "if-range": _TAG,
    "idempotency-key": idempotency.KEY.pattern,
    "last-event-id": "[0-9]{1,10}",
}
# What any request may be answered, before a route has seen it or where the database is in trouble.
ANY: dict[str, str] = {
    "400": "the request is none, or not clear: two Host headers, a body that is not JSON",
    "408": "the request came too slowly, or others needed its connection",
    "413": "the body is too large",
    "421": "the server is not known under this name",
    "431": "the request line and the headers are too large",
    "503": "the database does not answer, or there is no room for more",
}
CHANGES = {
    "403": "a page of another site may change nothing here",
    "507": "there is no room to write",
}


def complete(app: FastAPI) -> None:
    """Replace the app's document by the completed one; it is made when it is first asked for."""
    of_routes = app.openapi
    done: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not done:
            done.append(_complete(of_routes()))
        return done[0]

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    ours: list[type[BaseModel]] = [
        Problem,
        Change,
        Retry,
        Plan,
        Announced,
        Ingest,
        Evaluate,
        Export,
        *SUBMISSIONS.values(),
    ]
    _, definitions = models_json_schema([(model, "validation") for model in ours], ref_template=REF)
    twins = [name for name, schema in definitions["$defs"].items() if _has_others(schemas.get(name, schema), schema)]
    assert not twins, f"a part of an answer and one of a body have the same name: {twins}"
    schemas.update(definitions["$defs"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _add_problems(path, method, operation)
            _add_forms(path, operation)
    return document


def _has_others(answer: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether they are of two classes: of one, an answer has all that a body may have."""
    return bool(answer.get("properties", {}).keys() ^ body.get("properties", {}).keys())


def _add_forms(path: str, operation: dict[str, Any]) -> None:
    of_path = {"name": layout.NAME.pattern} if "/artifacts/" in path else {}
    for parameter in operation.get("parameters", []):
        if form := (FORMS | of_path).get(parameter["name"].lower()) if parameter["in"] != "query" else None:
            parameter["schema"]["pattern"] = f"^({form})$"


def _add_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if "requestBody" in operation:
        responses["415"] = {"description": "the body does not say that it is JSON"}
    if "{" in path:
        responses["404"] = {"description": "there is no such thing"}
    responses["422"] = {"description": "the request is not valid; `errors` says where and why"}
    for status, words in (ANY if method == "get" else ANY | CHANGES).items():
        responses.setdefault(status, {"description": words})
    responses["default"] = {"description": "anything else that went wrong"}
    for status, response in responses.items():
        if status == "default" or status >= "400":
            response["content"] = PROBLEM
