"""Conditional requests (RFC 9110, section 13): what a client has already, and what it must not overwrite."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel


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
    return respond(represent(view), None, headers, status)


def respond(
    found: Representation, if_none_match: str | None, headers: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    """The representation, or 304 for a client that has it."""
    told = {"ETag": found.etag, **(headers or {})}
    if matches(if_none_match, found.etag):
        return Response(status_code=304, headers=told)
    return Response(found.content, status, told, media_type="application/json")


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the condition names this ETag; a weak one will do."""
    return if_none_match is not None and names(if_none_match, etag, weak=True)


def names(condition: str, etag: str, *, weak: bool) -> bool:
    tags = [tag.strip() for tag in condition.split(",")]
    return tags == ["*"] or etag in ([tag.removeprefix("W/") for tag in tags] if weak else tags)


async def _if_none_match(
    request: Request, if_none_match: Annotated[str | None, Header(description="ETags that the client has")] = None
) -> str | None:
    return ", ".join(request.headers.getlist("if-none-match")) if if_none_match is not None else None


IfNoneMatch = Annotated[str | None, Depends(_if_none_match)]
