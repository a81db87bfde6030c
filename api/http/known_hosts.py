"""Only requests for names under which this server is known are answered.

A page of another site can have its own name lead to this machine (DNS rebinding): to the browser it is then of the same
origin as this server, and may read and change everything. What it cannot do is ask for another name than its own.
"""

import re
import socket
from ipaddress import ip_address

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http import problems
from api.http.problems import HostUnclear, HostUnknown
from jobs.hosts import Hosts

AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:\d{1,5})?", re.ASCII)


class KnownHosts:
    """Refuses a request whose `Host` is not clear, or is no name of this machine and none that was allowed."""

    def __init__(self, app: ASGIApp, allowed: Hosts):
        self.app, self._allowed = app, allowed
        self._own_name = socket.gethostname().lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            answer = await problems.answer(Request(scope), refusal)
            return await answer(scope, receive, send)
        return await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> HostUnclear | HostUnknown | None:
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if not given and scope["http_version"] == "1.0":
            return None  # such a client may leave it out, and no browser does
        if len(given) != 1:
            return HostUnclear(f"has {len(given)} Host headers")
        named = AUTHORITY.fullmatch(given[0].strip())
        if named is None:
            return HostUnclear("has a Host that is none")
        host = named[1].lower().rstrip(".")
        return None if self._is_known(host, scope) else HostUnknown(host)

    def _is_known(self, host: str, scope: Scope) -> bool:
        address_here = (scope.get("server") or ("", None))[0]
        if host in (self._own_name, address_here, "localhost") or host.endswith(".localhost"):
            return True
        if host in self._allowed.names:
            return True
        try:
            address = ip_address(host.strip("[]"))
        except ValueError:
            return False
        if address.is_loopback or str(address) == address_here:
            return True
        return any(address in network for network in self._allowed.networks)
