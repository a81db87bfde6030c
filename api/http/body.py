"""The body of a request as JSON, read strictly: what two readers could understand differently is refused."""

import codecs
import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import pydantic_core
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from api.http.problems import Invalid, NotJson, WrongContentType
from kd.spec import faults

REF = "#/components/schemas/{model}"

Model = TypeVar("Model", bound=BaseModel)


async def read(request: Request) -> bytes:
    """The bytes of a body that says it is JSON; `api.http.body_limit` has bounded them."""
    given = request.headers.get("content-type")
    kind = (given or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        # Without a preflight, a page of another site can send any other type to a server on this machine.
        raise WrongContentType(given)
    return await request.body()


Body = Annotated[bytes, Depends(read)]


def parse(body: bytes) -> Any:
    """NaN, which is no JSON, becomes a float that no field accepts, so that the answer says where it is."""
    body = body.removeprefix(codecs.BOM_UTF8)  # which editors on Windows put before it
    if not body.strip():
        raise NotJson("it is empty")
    try:
        value = pydantic_core.from_json(body)  # also refuses deep nesting, bad UTF-8 and halves of surrogate pairs
        json.loads(body, object_pairs_hook=_refuse_repeats)
    except ValueError as error:
        raise NotJson(str(error)) from None
    return value


def understand(model: type[Model], given: Any, context: dict[str, Any] | None = None) -> Model:
    """What was parsed as this model, or a refusal that names every problem and its place. Validators are told the
    `context`."""
    try:
        return model.model_validate(given, context=context)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise Invalid(faults.find(details, given, model=model)) from None


def of(model: type[Model]) -> Callable[[bytes], Model]:
    """The dependency of a route whose body is this model. In a thread: a body may be large."""

    def read_model(body: Body) -> Model:
        return understand(model, parse(body))

    return read_model


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra`: such a route reads its body itself, more strictly than FastAPI would."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


def reference(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The same, for a model that `api.openapi` adds to the document's components."""
    schema = {"$ref": REF.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {json.dumps(key)} occurs twice in one object")
        found[key] = value
    return found
