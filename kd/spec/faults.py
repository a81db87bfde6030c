"""What is wrong with a request, one sentence a place: pydantic's findings as JSON pointers (RFC 6901)."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import isclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic_core import ErrorDetails

from kd import nearest

Path = tuple[str | int, ...]
Place = Literal["body", "query", "header"]

SHOWN = 50  # a body of a megabyte can hold a hundred thousand unknown fields


@dataclass(frozen=True)
class Fault:
    """`pointer` leads into the body, or into the query seen as an object; "" is the whole of it."""

    pointer: str
    message: str
    place: Place = "body"


def find(
    found: Sequence[ErrorDetails], given: Any, *, model: type[BaseModel] | None = None, place: Place = "body"
) -> list[Fault]:
    """A fault for each place that pydantic complained about; what is wrong with alternatives is joined by "or".

    `model` knows the names that an unknown field may have meant.
    """
    messages: dict[Path, list[str]] = {}
    values: dict[Path, Any] = {}
    for error in found[:SHOWN]:
        path, value = _locate(error, given)
        message = _message(error, path, model, place)
        if message not in (said := messages.setdefault(path, [])):
            said.append(message)
        values[path] = value
    faults = [
        Fault(pointer(path), " or ".join(said) + _instead_of(values[path], said), place)
        for path, said in messages.items()
    ]
    unsaid = len(found) - SHOWN
    return [*faults, Fault("", f"has {unsaid} more problems", place)] if unsaid > 0 else faults


def sentence(found: Sequence[Fault]) -> str:
    """The first of them in words, and how many others there are."""
    first, *others = found
    more = f" (and {len(others)} more: see errors)" if others else ""
    return f"{first.pointer or 'The ' + first.place}: {first.message.removesuffix('.')}{more}."


def pointer(path: Path) -> str:
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def quoted(value: Any) -> str:
    """A JSON value, short enough for a sentence."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else shown[:60] + "…"


_MISSING = object()


def _locate(error: ErrorDetails, given: Any) -> tuple[Path, Any]:
    """Where in `given` an error is. Pydantic's `loc` also names union members, which are nowhere in the body."""
    path: list[str | int] = []
    value = given
    for key in error["loc"]:
        if _holds(value, key):
            value = value[key]
        elif error["type"] == "missing" and key == error["loc"][-1]:
            value = _MISSING
        else:
            continue
        path.append(key)
    return tuple(path), value


def _holds(value: Any, key: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


_SENTENCES: dict[str, str] = {
    "missing": "is missing",
    "int_type": "should be an integer",
    "int_from_float": "should be an integer",
    "int_parsing": "should be an integer",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "string_type": "should be a string",
    "model_type": "should be an object",
    "dict_type": "should be an object",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
}


def _message(error: ErrorDetails, path: Path, model: type[BaseModel] | None, place: Place) -> str:
    if error["type"] == "extra_forbidden":
        what = "field" if place == "body" else "parameter"
        known = _fields(model, error["loc"][:-1])
        return f"there is no such {what}" + (f"; {nearest.instead(str(path[-1]), known)}" if known else "")
    sentence = _SENTENCES.get(error["type"], error["msg"])
    # "Input should be greater than or equal to 1", "Tuple should have at least 1 item after validation, not 0"
    return re.sub(r"^(Input|String|Value|Tuple|List|Dictionary) ", "", sentence).replace(" after validation", "")


def _fields(model: type[BaseModel] | None, loc: Path) -> list[str]:
    """The names of the fields at a place in the model. `loc` also names the members of unions: those with a tag."""
    found: Any = model
    for key in loc:
        if isinstance(key, int):  # a member of a list
            found = next(iter(get_args(found)), None)
            found = get_args(found)[0] if get_origin(found) is Annotated else found
        elif not _is_model(found):
            found = next((member[0] for member in map(get_args, get_args(found)) if Tag(str(key)) in member), None)
        elif str(key) in found.model_fields:  # else it is the tag of `found` itself
            found = found.model_fields[str(key)].annotation
    return list(found.model_fields) if _is_model(found) else []


def _is_model(found: Any) -> bool:
    return isclass(found) and issubclass(found, BaseModel)


def _instead_of(value: Any, said: list[str]) -> str:
    """What was there, where that helps."""
    helps = said[0].startswith("should") and ", not " not in said[0] and value is not _MISSING
    return f", not {quoted(value)}" if helps else ""
