"""Hosts and networks, as settings name them."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


class NoHost(ValueError):
    """A part of the setting that is neither a host name nor a network."""

    def __init__(self, part: str):
        super().__init__(f"{part} is neither a host name nor a network")


@dataclass(frozen=True)
class Hosts:
    """Names, in lower case, and networks; a single address is a small network."""

    names: frozenset[str]
    networks: tuple[IPv4Network | IPv6Network, ...]


def parse(given: str) -> Hosts:
    """Host names and networks, by commas. Raises `NoHost`."""
    found = [_name_or_network(part.strip()) for part in given.split(",") if part.strip()]
    return Hosts(
        names=frozenset(part for part in found if isinstance(part, str)),
        networks=tuple(part for part in found if not isinstance(part, str)),
    )


def _name_or_network(part: str) -> str | IPv4Network | IPv6Network:
    try:
        return ip_network(part.strip("[]"))
    except ValueError:
        # A name without a letter is an address or a network with a slip in it.
        if not HOST_NAME.fullmatch(part) or not re.search("[A-Za-z]", part):
            raise NoHost(part) from None
        return part.lower().rstrip(".")
