"""Which addresses a webhook may reach: the public ones, and those that the operator allows; nothing else of ours.

A name is looked up once, when the connection is made, and the connection goes to the very address that was checked:
between a check and a second look-up the name's owner could point it elsewhere (DNS rebinding).
"""

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext
from typing import Any, Self

import httpcore2
import httpx2
import structlog

from jobs.hosts import HOST_NAME
from jobs.settings import Settings

log = structlog.get_logger()

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2000

# Names that are never public. A name of one word is the same: a machine of this network.
PRIVATE_NAMES = ("localhost", "localdomain", "local", "internal", "lan", "home.arpa")

GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
# What `is_global` of some version of Python we run on takes for public.
NOT_PUBLIC: tuple[Network, ...] = (
    IPv4Network("168.63.129.16/32"),  # where Azure's machines reach their host
    IPv4Network("192.0.0.0/24"),  # protocol assignments; Oracle's machines reach their metadata there
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them, which embeds any IPv4 address
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4, which embeds any IPv4 address
    IPv6Network("3fff::/20"),  # documentation
)


class Refused(ValueError):
    """A URL that no webhook may have."""


class NotPublic(httpcore2.ConnectError):
    """A name that leads to addresses which are not allowed, found when connecting."""


@dataclass(frozen=True)
class Allowed:
    """What may be reached although it is not public: names whatever they lead to, and networks."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def by(cls, settings: Settings) -> Self:
        return cls(settings.webhook_targets.names, settings.webhook_targets.networks)

    def name(self, host: str) -> bool:
        return _bare(host) in self.names

    def address(self, address: Address) -> bool:
        return is_public(address) or any(_embedded_ipv4(address) in network for network in self.networks)


def is_public(address: Address) -> bool:
    address = _embedded_ipv4(address)
    if any(address in network for network in NOT_PUBLIC) or address.is_multicast:
        return False
    return address.is_global and (isinstance(address, IPv4Address) or address in GLOBAL_UNICAST)


def _embedded_ipv4(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address


# -- when a webhook is made -------------------------------------------------------------------------------


def check_url(given: str, allowed: Allowed) -> None:
    """Refuse what can be known to be wrong without a look-up. Read by the parser that will send to it."""
    if len(given) > MAX_URL:
        raise Refused(f"should have at most {MAX_URL} characters")
    try:
        url = httpx2.URL(given)
    except httpx2.InvalidURL as error:
        raise Refused(f"is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise Refused("should begin with https:// or http:// and a host")
    if url.userinfo:
        raise Refused("should hold no user or password; the secret of the webhook proves who sends")
    if url.fragment:
        raise Refused("should hold no #fragment, which is never sent")
    if url.port is not None and not 1 <= url.port <= 65535:
        raise Refused("should name a port from 1 to 65535")
    host = url.raw_host.decode("ascii")
    literal = _literal(host)
    if literal is None and not HOST_NAME.fullmatch(host):
        raise Refused(f"names no host that there could be: {host}")
    if allowed.name(host):
        return
    private = not allowed.address(literal) if literal is not None else _is_private(_bare(host))
    if private:
        raise Refused(
            f"leads to {host}, which is not public; to allow that, add it to STILLHOUSE_WEBHOOK_HOSTS of the server"
        )


def _bare(host: str) -> str:
    return host.lower().rstrip(".")


def _literal(host: str) -> Address | None:
    """The address that a host is, also in forms that only the C library knows: 127.1, 0x7f000001, 2130706433."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(_bare(host)))
    except (OSError, ValueError):
        return None


def _is_private(name: str) -> bool:
    return "." not in name or any(name == known or name.endswith("." + known) for known in PRIVATE_NAMES)


# -- when a connection is made ----------------------------------------------------------------------------


class PublicNetwork(httpcore2.NetworkBackend):
    """For one request: connects to allowed addresses only, and ends whatever it connected at the deadline."""

    def __init__(self, allowed: Allowed, seconds: float):
        self._allowed, self._deadline = allowed, time.monotonic() + seconds
        self._network = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        found = _look_up(host, port)
        addresses = [
            address for address in found if self._allowed.name(host) or self._allowed.address(ip_address(address))
        ]
        if not addresses:
            # The error is in the log that users read: which private address a name has is no business of theirs.
            log.warning("webhook_target_not_public", host=host, addresses=found)
            raise NotPublic(
                f"{host} leads to an address that is not public; STILLHOUSE_WEBHOOK_HOSTS of the server can allow it"
            )
        trouble: Exception | None = None
        for address in addresses:
            try:
                # An address, not a name: nothing is looked up again.
                stream = self._network.connect_tcp(
                    address, port, _seconds_left(self._deadline, timeout), local_address, socket_options
                )
                return _Bounded(stream, self._deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                trouble = error
        assert trouble is not None
        raise trouble

    def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore2.NetworkStream:
        raise NotPublic("a socket of this machine is not public")


class _Bounded(httpcore2.NetworkStream):
    """A timeout counts anew with every byte of a slow answer; a deadline does not."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float):
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds_left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _seconds_left(self._deadline, timeout))

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        secure = self._stream.start_tls(ssl_context, server_hostname, _seconds_left(self._deadline, timeout))
        return _Bounded(secure, self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _seconds_left(deadline: float, timeout: float | None) -> float:
    """Seconds that may still pass."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore2.ReadTimeout("no whole answer in time")
    return seconds if timeout is None else min(timeout, seconds)


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(
            f"the name {host} leads nowhere: {getattr(error, 'strerror', None) or error}"
        ) from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
