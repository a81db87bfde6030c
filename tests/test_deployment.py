"""The compose file is what it should be: valid, closed to the outside, and every command in it exists."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_compose_file_follows_the_compose_specification():
    # Interpolation is the shell's part of the specification; here every variable takes its default.
    plain = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", TEXT)

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


@pytest.mark.parametrize("service", ["migrate", "api", "worker"])
def test_the_command_of_our_images_exists(service):
    target = SERVICES[service]["build"]["target"]
    stage = DOCKERFILE.split(f" AS {target}\n")[1].split("\nFROM ")[0]
    command = SERVICES[service].get("command") or re.findall(r'"([^"]*)"', stage.split("CMD ")[1])

    assert shutil.which(command[0], path=str(Path(sys.executable).parent)), command


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
        assert f"${{{name}:-" in TEXT, name
