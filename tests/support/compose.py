"""What the compose file starts, as it starts it: a test that runs these commands runs what is deployed."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def stage_of(target: str) -> str:
    """The part of the Dockerfile that makes this image."""
    return DOCKERFILE.split(f" AS {target}\n")[1].split("\nFROM ")[0]


def command_of(service: str, port: int | None = None) -> list[str]:
    """What its container runs, with our own programs where they are here. With a port it listens there, on loopback:
    beyond that nothing listens in a test."""
    stage = stage_of(SERVICES[service]["build"]["target"])
    program, *arguments = SERVICES[service].get("command") or re.findall(r'"([^"]*)"', stage.split("CMD ")[1])
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    assert found, program
    here = {} if port is None else {"0.0.0.0": "127.0.0.1", "8000": str(port)}
    return [found, *(here.get(word, word) for word in arguments)]
