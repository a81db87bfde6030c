"""The OpenAPI document: what FastAPI finds in the routes, plus bodies that routes read themselves, and errors."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.http.body import REF
from api.http.problems import Problem
from api.jobs.body import SUBMISSIONS, Retry
from jobs.envelope import Change

PROBLEM = {"application/problem+json": {"schema": {"$ref": REF.format(model=Problem.__name__)}}}


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
    ours: list[type[BaseModel]] = [Problem, Change, Retry, *SUBMISSIONS.values()]
    _, definitions = models_json_schema([(model, "validation") for model in ours], ref_template=REF)
    schemas.update(definitions["$defs"])
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _add_problems(path, operation)
    return document


def _add_problems(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if "requestBody" in operation:
        responses["400"] = {"description": "the body is not JSON"}
        responses["413"] = {"description": "the body is too large"}
        responses["415"] = {"description": "the body does not say that it is JSON"}
    if "{" in path:
        responses["404"] = {"description": "there is no such thing"}
    responses["422"] = {"description": "the request is not valid; `errors` says where and why"}
    responses["default"] = {"description": "anything else that went wrong"}
    for status, response in responses.items():
        if status == "default" or status >= "400":
            response["content"] = PROBLEM
