"""No body larger than the settings allow is ever read, whether it says its size or not."""

from collections.abc import Mapping

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import problems
from api.http.problems import BodyTooLarge

# After a refusal, what the client is still sending is thrown away for this long, so that it sees the answer.
# Closing at once would reset the connection under a client that writes everything before it reads.
DRAIN_SECONDS = 2.0
DRAIN_BYTES = 64 * 2**20


class BodyLimit:
    """`larger` are the bounds of requests, by method and path, that bring files. A path that ends in a slash stands for
    all that are one name longer."""

    def __init__(self, app: ASGIApp, max_bytes: int, larger: Mapping[tuple[str, str], int] = {}):
        self.app, self.max_bytes, self.larger = app, max_bytes, larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        method, path = scope["method"], scope["path"]
        folder = f"{path.rpartition('/')[0]}/"
        most = self.larger.get((method, path)) or self.larger.get((method, folder), self.max_bytes)
        if _content_length(scope) > most:
            return await self._refuse(scope, receive, send, most)
        received, more, started = 0, True, False

        async def bounded_receive() -> Message:
            nonlocal received, more
            message = await receive()
            received += len(message.get("body", b""))
            more = message.get("more_body", False)
            if received > most and not started:
                raise BodyTooLarge(most)
            return message

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, bounded_receive, watched_send)
        except BodyTooLarge:
            await self._refuse(scope, receive, send, most, more=more)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, most: int, *, more: bool = True) -> None:
        async def send_and_drain(message: Message) -> None:
            if message["type"] == "http.response.body" and more:
                await send({**message, "more_body": True})
                await _drain(receive)
                message = {"type": "http.response.body"}
            await send(message)

        answer = await problems.answer(Request(scope), BodyTooLarge(most))
        answer.headers["Connection"] = "close"
        await answer(scope, receive, send_and_drain)


async def _drain(receive: Receive) -> None:
    left = DRAIN_BYTES
    with anyio.move_on_after(DRAIN_SECONDS):
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return


def _content_length(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length[:20]) if length.isascii() and length.isdigit() else 0
