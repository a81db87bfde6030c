"""The compose file is what it should be: valid, closed to the outside, and every command in it exists."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml
from compose_spec import PyCompose
from sqlalchemy import make_url

from client import Client
from tests.support.compose import COMPOSE, DOCKERFILE, ROOT, SERVICES, TEXT, command_of, stage_of
from tests.support.contained import contained
from tests.support.contained import is_possible as containing_is_possible
from tests.support.deployed import TINY
from tests.support.relaying import relay
from tests.support.servers import find_valkey, free_port
from tests.support.waiting import HANG_SECONDS, wait_until


def test_the_compose_file_follows_the_compose_specification():
    # Interpolation is the shell's part of the specification; here every variable takes its default.
    plain = re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", TEXT)

    compose = PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(plain)))  # its anchors and merges resolved

    compose.validate()
    assert set(compose.service_names()) == {"postgres", "redis", "migrate", "api", "worker", "worker-cpu"}


def test_only_the_api_is_published_and_only_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"api": ["127.0.0.1:${STILLHOUSE_PORT:-8000}:8000"]}


def test_what_only_serves_the_others_has_no_way_out():
    outside = {name for name, service in SERVICES.items() if "outside" in service["networks"]}

    assert outside == {"api", "worker", "worker-cpu"}
    assert all("inside" in service["networks"] for service in SERVICES.values())
    assert COMPOSE["networks"] == {"inside": {"internal": True}, "outside": None}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_no_more_than_it_has_to(name):
    service = SERVICES[name]

    assert (service["cap_drop"], "cap_add" in service, "privileged" in service) == (["ALL"], False, False)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] not in ("root", "0")
    assert service["read_only"] is True
    for mounted in service["tmpfs"]:  # without a mode it would be for root alone, without a size half of the memory
        assert re.fullmatch(r"/[\w/]+:mode=1777,size=\d+[mg]", mounted), mounted
    assert {"mem_limit", "pids_limit"} <= service.keys()
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys(), "logs that are rotated"


def test_every_image_has_a_version_and_takes_a_digest():
    images = {name: service["image"] for name, service in SERVICES.items() if "build" not in service}
    images |= {
        name: service["build"]["args"]["PYTHON_IMAGE"] for name, service in SERVICES.items() if "build" in service
    }

    assert images.keys() == SERVICES.keys()
    for image in images.values():
        assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[a-z/-]+:\d+\.\d+(\.\d+)?(-[a-z]+)*\}", image), image
    assert f"ARG PYTHON_IMAGE={default_of('PYTHON_IMAGE')}\n" in DOCKERFILE
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}", "base"}
    assert "syntax=" not in DOCKERFILE, "that would be one more image"


def default_of(variable: str) -> str:
    """The value that compose gives it where nobody does."""
    (value,) = set(re.findall(rf"\$\{{{variable}:-([^}}]*)\}}", TEXT))
    return str(value)


def test_every_service_that_stays_has_a_healthcheck():
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"migrate"}


def test_the_images_run_as_an_ordinary_user():
    for service in SERVICES.values():
        if "build" in service:
            assert "\nUSER stillhouse\n" in stage_of(service["build"]["target"])


# As somebody might set them.
PASSWORDS = {"POSTGRES_PASSWORD": "p@ss/word#1", "REDIS_PASSWORD": "--p@ss/wörd#1 $HOME \\ '\""}


def environment_of(service: str) -> dict[str, str]:
    """What its container has in its environment, where nothing but the passwords is set."""
    return {
        name: re.sub(r"\$\{(\w+):([-?])([^}]*)\}", lambda found: PASSWORDS.get(found[1], found[3]), str(value))
        for name, value in SERVICES[service]["environment"].items()
    }


def command_of_redis(port: int) -> list[str]:
    """Its container's, of the Redis that is here."""
    assert SERVICES["redis"]["command"][:2] == ["sh", "-c"]
    script = SERVICES["redis"]["command"][2].replace("$$", "$")
    assert script.startswith("exec redis-server ")
    ours = f"exec {shlex.quote(find_valkey())} --bind 127.0.0.1 --port {port} "
    return ["sh", "-c", script.replace("exec redis-server ", ours)]


@pytest.fixture
def postgres_port(empty_postgres: str) -> Iterator[int]:
    """Where PostgreSQL is reached by TCP, as in compose: its socket is in a folder that a container does not see."""
    with relay(f"{make_url(empty_postgres).query['host']}/.s.PGSQL.5432") as between:
        yield between.port


def test_every_command_of_the_compose_file_runs_as_it_is_held_and_logs_in_json(empty_postgres, postgres_port, tmp_path):
    """With a read-only root and without capabilities, where we may try that. What is said, by us and by libraries, is
    one object a line, so that whoever collects logs can read it."""
    port, broker_port, data = free_port(), free_port(), tmp_path / "data"
    data.mkdir()
    elsewhere = {
        "STILLHOUSE_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{postgres_port}/{make_url(empty_postgres).database}",
        "STILLHOUSE_BROKER_URL": f"redis://127.0.0.1:{broker_port}/0",
        "STILLHOUSE_DATA_DIR": str(data),
        "STILLHOUSE_MIN_FREE_BYTES": "0",
    }

    def start(service: str, command: list[str], said: Path) -> subprocess.Popen[bytes]:
        if containing_is_possible():
            command = contained(command, tmpfs=SERVICES[service]["tmpfs"], readable=[ROOT], writable=data)
        settings = environment_of(service)
        settings |= {name: value for name, value in elsewhere.items() if name in settings}
        with open(said, "w") as stderr:
            return subprocess.Popen(
                command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=stderr
            )

    @contextlib.contextmanager
    def running(service: str, command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        said = tmp_path / f"{service}.log"
        process = start(service, command, said)
        try:
            yield process, said
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(HANG_SECONDS)
        assert code in (0, -signal.SIGKILL), said.read_text()

    def words(said: Path) -> set[str]:
        lines = [json.loads(line) for line in said.read_text().splitlines()]
        assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
        return {line["event"] for line in lines}

    assert start("migrate", command_of("migrate"), tmp_path / "migrate.log").wait(HANG_SECONDS) == 0
    api, client = command_of("api", port), Client(f"http://127.0.0.1:{port}")
    with running("redis", command_of_redis(broker_port)) as (broker, _):
        wait_until(lambda: asks_for_a_password(broker_port))
        with running("api", api) as (_, said), running("worker", command_of("worker")) as (_, told):
            wait_until(client.is_ready)
            with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as connection:
                connection.sendall(b"\x16\x03\x01 TLS is not spoken here\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
            job = client.submit("train", TINY | {"epochs": 2})["id"]
            ended = client.wait(job)
            assert ended["status"] == "succeeded", ended["error"]
            assert "consumer: Cannot connect to" not in told.read_text()
            broker.kill()
            wait_until(lambda: "consumer: Cannot connect to" in told.read_text())
    assert "Invalid HTTP request received." in words(said), "which uvicorn says"
    assert "doorbell_lost" not in words(said)
    assert "worker_started" in words(told)


def asks_for_a_password(port: int) -> bool:
    with contextlib.suppress(redis.ConnectionError), redis.Redis(port=port, protocol=2) as nobody:
        with pytest.raises(redis.AuthenticationError):
            nobody.ping()
        return True
    return False


def test_everything_the_images_copy_is_in_the_repository_and_not_ignored():
    wanted = (ROOT / ".dockerignore").read_text()
    for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name
            assert f"!{name}\n" in wanted, name


def test_the_example_of_settings_has_the_defaults_of_compose():
    shown = re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)

    assert shown
    assert {name: default_of(name) for name, _ in shown if name not in PASSWORDS} == {
        name: value for name, value in shown if name not in PASSWORDS
    }


def test_there_is_no_password_that_everybody_knows():
    for name in PASSWORDS:
        otherwise = re.findall(rf"\$\{{{name}([^}}]*)\}}", TEXT)

        assert len(otherwise) == 2, "one for the server, one for its clients"
        assert all(words.startswith(":?") for words in otherwise), "without one compose says what to do"
        assert f"\n{name}=\n" in (ROOT / ".env.example").read_text()
