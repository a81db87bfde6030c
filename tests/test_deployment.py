"""The compose file is what it should be: valid, closed to the outside, and every command in it exists."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from compose_spec import PyCompose

from client import Client
from tests.support.servers import Broker, free_port
from tests.support.waiting import HANG_SECONDS, wait_until

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_compose_file_follows_the_compose_specification():
    # Interpolation is the shell's part of the specification; here every variable takes its default.
    plain = re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", TEXT)

    compose = PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(plain)))  # its anchors and merges resolved

    compose.validate()
    assert set(compose.service_names()) == {"postgres", "redis", "migrate", "api", "worker", "worker-cpu"}


def test_only_the_api_is_published_and_only_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"api": ["127.0.0.1:${STILLHOUSE_PORT:-8000}:8000"]}


def test_every_image_is_pinned_to_a_version():
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+) AS base", DOCKERFILE, re.MULTILINE)

    assert images
    for image in images:
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-[a-z]+)*", image), image


def test_every_service_that_stays_has_a_healthcheck():
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"migrate"}


def test_the_images_run_as_an_ordinary_user():
    stages = DOCKERFILE.split("\nFROM ")[2:]

    assert len(stages) == 2
    for stage in stages:
        assert "\nUSER stillhouse" in stage


def command_of(service: str) -> list[str]:
    """What its container runs, with our own programs where they are here."""
    stage = DOCKERFILE.split(f" AS {SERVICES[service]['build']['target']}\n")[1].split("\nFROM ")[0]
    program, *arguments = SERVICES[service].get("command") or re.findall(r'"([^"]*)"', stage.split("CMD ")[1])
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    assert found, program
    return [found, *arguments]


def test_every_command_of_the_compose_file_runs_and_logs_in_json(empty_postgres, tmp_path):
    """Ours, and what libraries say: one object a line, so that whoever collects logs can read them."""
    broker, port = Broker(), free_port()
    broker.start()
    environment = {
        "STILLHOUSE_DATABASE_URL": empty_postgres,
        "STILLHOUSE_BROKER_URL": broker.url,
        "STILLHOUSE_DATA_DIR": str(tmp_path / "data"),
        "STILLHOUSE_STANDBY": "false",
    }

    @contextlib.contextmanager
    def running(command: list[str]) -> Iterator[Path]:
        said = tmp_path / "said"
        with open(said, "w") as stderr:
            process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=stderr
            )
        try:
            yield said
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(HANG_SECONDS) == 0, said.read_text()

    def words(said: Path) -> set[str]:
        lines = [json.loads(line) for line in said.read_text().splitlines()]
        assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
        return {line["event"] for line in lines}

    subprocess.run(command_of("migrate"), cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)
    here = {"0.0.0.0": "127.0.0.1", "8000": str(port)}  # beyond loopback nothing listens in a test
    with running([here.get(word, word) for word in command_of("api")]) as said:
        wait_until(lambda: Client(f"http://127.0.0.1:{port}").is_ready())
        with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as connection:
            connection.sendall(b"\x16\x03\x01 TLS is not spoken here\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        assert "Invalid HTTP request received." in words(said), "which uvicorn says"
    with running(command_of("worker")) as said:
        wait_until(lambda: "worker_started" in said.read_text())
        broker.kill()
        wait_until(lambda: "consumer: Cannot connect to" in said.read_text())
        assert "worker_started" in words(said)


def test_everything_the_images_copy_is_in_the_repository_and_not_ignored():
    wanted = (ROOT / ".dockerignore").read_text()
    for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name
            assert f"!{name}\n" in wanted, name


def test_the_example_of_settings_names_no_setting_that_compose_does_not_read():
    names = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)

    assert names
    for name in names:
        assert re.search(rf"\$\{{{name}:[-?]", TEXT), name


def test_there_is_no_password_that_everybody_knows():
    passwords = re.findall(r"\$\{POSTGRES_PASSWORD([^}]*)\}", TEXT)

    assert len(passwords) == 2
    assert all(otherwise.startswith(":?") for otherwise in passwords), "without one compose says what to do"
    assert "\nPOSTGRES_PASSWORD=\n" in (ROOT / ".env.example").read_text()
