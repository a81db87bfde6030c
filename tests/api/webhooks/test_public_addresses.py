"""Where webhooks may go: to public addresses, to what the operator allows, and to the very address that was checked."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpcore2
import pytest

from api.webhooks.public_addresses import Allowed, NotPublic, PublicNetwork, Refused, check_url, is_public
from tests.support.receiving import Receiver

LOOPBACK = Allowed(networks=(ip_network("127.0.0.0/8"),))

# Made for these tests: of localhost, by itself, from 2020 to 2120.
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBYTCCAQegAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABI9tOQLj2kJM+LzI
tK9aDOu5G/f5AaXTArJpdLtToPDWk6dciC52Pu8DzBYZ9C79yBzDakHEf3QBzY3y
5E3shkWjSDBGMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAPBgNVHRMBAf8EBTADAQH/
MB0GA1UdDgQWBBQV8D3sy9y6oEuDZWNaiei9E1tSfDAKBggqhkjOPQQDAgNIADBF
AiAIpty8jmSKH4oqQvRVNbcL4H6C1aXGObTfuoFYamvPGwIhAL/yZp9Z/5I4pD2t
5zxm2OZoJ/FOV/+uYrtHKjIsPVkO
-----END CERTIFICATE-----
"""
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgx9sLLWTJaFscHvnn
X8mor0pdzrZyidBzuq8fu5GcE66hRANCAASPbTkC49pCTPi8yLSvWgzruRv3+QGl
0wKyaXS7U6Dw1pOnXIgudj7vA8wWGfQu/cgcw2pBxH90Ac2N8uRN7IZF
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254"),
        *("100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "203.0.113.1"),
        *("224.0.0.251", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fec0::1", "fd00:ec2::254", "fc00::1", "ff02::1", "ff0e::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "100::1", "3fff::1", "4000::1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Allowed().address(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.215.14", "2001:4860:4860::8888", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ip_address(address))


def test_what_an_operator_allows_is_allowed_however_it_is_written() -> None:
    allowed = Allowed(frozenset({"hooks.local"}), (ip_network("10.0.0.0/8"), ip_network("fd00::/8")))

    for url in ("http://10.1.2.3/", "http://[::ffff:10.1.2.3]/", "http://[fd00::1]/", "http://HOOKS.local./"):
        check_url(url, allowed)
    for url in ("http://11.1.2.3.4.local/", "http://192.168.0.1/", "http://[fc00::1]/", "http://a.hooks.local/"):
        with pytest.raises(Refused, match="not public"):
            check_url(url, allowed)


# -- connecting -------------------------------------------------------------------------------------------


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the resolver is asked, by anybody."""
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def listening(host: Any, *rest: Any, **options: Any) -> Any:
        asked.append(host)
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", listening)
    return asked


def get(url: str, allowed: Allowed, *, seconds: float = 30, tls: ssl.SSLContext | None = None) -> int:
    there = httpcore2.URL(url)
    network = PublicNetwork(allowed, seconds)
    with httpcore2.HTTPConnection(there.origin, ssl_context=tls, network_backend=network) as connection:
        return connection.request("GET", there).status


def test_a_name_is_looked_up_once_and_its_address_is_what_is_connected_to(looked_up: list[str]) -> None:
    with Receiver().listening() as receiver:
        assert get(receiver.url("localhost"), LOOPBACK) == 204

    assert looked_up.count("localhost") == 1
    for other in set(looked_up) - {"localhost"}:
        ip_address(other)


def test_an_allowed_name_may_lead_anywhere() -> None:
    with Receiver().listening() as receiver:
        assert get(receiver.url("localhost"), Allowed(frozenset({"localhost"}))) == 204


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0"])
def test_nothing_is_connected_to_that_is_not_allowed(host: str) -> None:
    with Receiver().listening() as receiver:
        with pytest.raises(NotPublic, match="STILLHOUSE_WEBHOOK_HOSTS"):
            get(receiver.url(host), Allowed())

        assert receiver.got == []


def test_a_name_that_leads_nowhere_says_so() -> None:
    with pytest.raises(httpcore2.ConnectError, match="leads nowhere"):
        get("http://nowhere.invalid/", Allowed())


def test_tls_verifies_the_name_not_the_address(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text(CERTIFICATE + KEY)
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    here.load_cert_chain(tmp_path / "cert.pem")
    trusting, strange = ssl.create_default_context(cadata=CERTIFICATE), ssl.create_default_context()

    with Receiver(tls=here).listening() as receiver:
        assert get(receiver.url("localhost"), LOOPBACK, tls=trusting) == 204
        with pytest.raises(httpcore2.ConnectError, match="certificate"):
            get(receiver.url("127.0.0.1"), LOOPBACK, tls=trusting)  # a name that the certificate does not have
        with pytest.raises(httpcore2.ConnectError, match="certificate"):
            get(receiver.url("localhost"), LOOPBACK, tls=strange)

    assert len(receiver.got) == 1


@contextmanager
def dripping() -> Iterator[int]:
    """A receiver whose answer never ends, byte by byte; its port."""
    enough = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not enough.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        yield server.getsockname()[1]
        enough.set()
        thread.join()


def test_a_slow_answer_has_a_deadline_whatever_it_drips() -> None:
    with dripping() as port, pytest.raises(httpcore2.TimeoutException):
        get(f"http://127.0.0.1:{port}/", LOOPBACK, seconds=0.5)
