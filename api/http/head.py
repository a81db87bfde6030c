"""Whatever can be got answers HEAD too (RFC 9110, 9.1): the same status and headers, without the content."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

ASKED_BY_HEAD = "asked_by_head"


class Head:
    """Routes see a GET. The server, whose scope stays as it was, sends no content."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", ASKED_BY_HEAD: True}
        return await self.app(scope, receive, send)


def is_head(scope: Scope) -> bool:
    """For those who would go to some lengths for their content: a file, or a stream that does not end."""
    return ASKED_BY_HEAD in scope


def method_of(request: Request) -> str:
    """What the client said."""
    return "HEAD" if is_head(request.scope) else request.method
