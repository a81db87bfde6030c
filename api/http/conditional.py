"""Conditional requests (RFC 9110, section 13): what a client has already, and what it must not overwrite."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from api.http.problems import PreconditionFailed

# For `openapi_extra`: what a download reads of the request itself.
_READ = {
    "Range": "one part, as in `bytes=0-99`",
    "If-Match": "only if the file still has one of these ETags",
    "If-None-Match": "ETags that the client has",
    "If-Modified-Since": "only if the file was made after that",
    "If-Unmodified-Since": "only if the file was made before that",
    "If-Range": "the ETag of the file that `Range` is a part of; of another one all is sent",
}
CONDITIONS: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "header", "required": False, "description": words, "schema": {"type": "string"}}
        for name, words in _READ.items()
    ]
}


@dataclass(frozen=True)
class Representation:
    """The bytes of an answer, and their strong ETag: it changes exactly if they do."""

    content: bytes
    etag: str


def represent(view: BaseModel) -> Representation:
    content = view.model_dump_json().encode()
    return Representation(content, f'"{hashlib.sha256(content).hexdigest()}"')


def answer(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The view with its ETag."""
    found = represent(view)
    return Response(found.content, status, {"ETag": found.etag, **(headers or {})}, media_type="application/json")


def respond(request: Request, found: Representation, headers: Mapping[str, str]) -> Response:
    """The representation, or 304 for a client that has it."""
    told = {"ETag": found.etag, **headers}
    if has_it(request, found.etag, "job"):
        return Response(status_code=304, headers=told)
    return Response(found.content, 200, told, media_type="application/json")


def has_it(request: Request, etag: str, what: str, changed_at: datetime | None = None) -> bool:
    """Whether the client has it already, by all that a GET may say of that, in the RFC's order (13.2.2).

    Raises `PreconditionFailed` if it wants only what is no longer there. Without `changed_at` conditions on the time
    are none, says the RFC.
    """
    if_match, if_none_match = field(request, "if-match"), field(request, "if-none-match")
    if if_match is not None:
        if not names(if_match, etag, weak=False):
            raise PreconditionFailed(what, "If-Match", etag)
    elif _is_later(changed_at, request.headers.get("if-unmodified-since")) is True:
        raise PreconditionFailed(what, "If-Unmodified-Since", etag)
    if if_none_match is not None:
        return matches(if_none_match, etag)
    return _is_later(changed_at, request.headers.get("if-modified-since")) is False


def http_date(at: datetime) -> str:
    return format_datetime(at.astimezone(UTC), usegmt=True)


def _is_later(changed_at: datetime | None, condition: str | None) -> bool | None:
    """Whether it was changed after the second that the condition names; None if it names none."""
    if changed_at is None or condition is None:
        return None
    try:
        known = parsedate_to_datetime(condition)
    except (ValueError, OverflowError):  # a year of twenty digits
        return None
    return changed_at.replace(microsecond=0) > (known if known.tzinfo else known.replace(tzinfo=UTC))


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the condition names this ETag; a weak one will do."""
    return if_none_match is not None and names(if_none_match, etag, weak=True)


def names(condition: str, etag: str, *, weak: bool) -> bool:
    tags = [tag.strip() for tag in condition.split(",")]
    return tags == ["*"] or etag in ([tag.removeprefix("W/") for tag in tags] if weak else tags)


def field(request: Request, name: str) -> str | None:
    """A list may come in several lines."""
    return ", ".join(request.headers.getlist(name)) if name in request.headers else None


async def _if_none_match(
    request: Request, if_none_match: Annotated[str | None, Header(description="ETags that the client has")] = None
) -> str | None:
    return field(request, "if-none-match")


IfNoneMatch = Annotated[str | None, Depends(_if_none_match)]
