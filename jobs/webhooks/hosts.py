"""Hosts and networks that webhooks may reach although they are not public, as a setting names them."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def parts(given: str) -> list[str]:
    return [part.strip() for part in given.split(",") if part.strip()]


def name_or_network(part: str) -> str | IPv4Network | IPv6Network:
    try:
        return ip_network(part.strip("[]"))
    except ValueError:
        return part
