"""What the images install is pinned with hashes, and is what pyproject.toml and constraints.txt ask for."""

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
TESTED = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}
EXTRAS = {"api": ("api", "sweeps"), "worker": ("worker", "sweeps", "zoo", "onnx", "parquet", "demo")}
# Where the images run, as far as requirements ask.
PYTHON = re.findall(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)", DOCKERFILE, re.MULTILINE)[0]
THERE = {
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "sys_platform": "linux",
    "os_name": "posix",
}


class Pin(NamedTuple):
    version: str
    hashes: tuple[str, ...]
    via: frozenset[str]


def read_lock(name: str) -> dict[str, Pin]:
    """Each package of a lock: its version, its hashes, and who wants it."""
    pins = {}
    for entry in re.split(r"\n(?=[a-z])", "\n" + (ROOT / "locks" / f"{name}.txt").read_text())[1:]:
        first, *rest = [line.strip(" \\") for line in entry.splitlines()]
        package, version = first.split("==")
        via = {word for line in rest if line.startswith("# via ") for word in line.removeprefix("# via ").split(", ")}
        hashes = tuple(line.removeprefix("--hash=") for line in rest if not line.startswith("#"))
        pins[package] = Pin(version, hashes, frozenset(via - {"-c constraints.txt"}))
    return pins


def requirements_of(package: str, extras: frozenset[str]) -> list[Requirement]:
    """What it needs itself: we by pyproject.toml, others by what is installed of them here."""
    if package == "stillhouse":
        optional = PYPROJECT["project"]["optional-dependencies"]
        said = [*PYPROJECT["project"]["dependencies"], *(line for extra in extras for line in optional[extra])]
    else:
        # A machine may have a torch of its own, whose needs are others.
        is_tested = Version(metadata.version(package)).public == TESTED.get(package)
        said = (metadata.requires(package) or []) if is_tested or package not in ("torch", "torchvision") else []
    asked = [Requirement(line) for line in said]
    return [
        one
        for one in asked
        if one.marker is None or any(one.marker.evaluate(THERE | {"extra": extra}) for extra in {"", *extras})
    ]


def all_requirements(extras: tuple[str, ...]) -> list[Requirement]:
    """Everything that is needed, directly or not."""
    found: list[Requirement] = []
    seen, ahead = set(), [("stillhouse", frozenset(extras))]
    while ahead:
        if (who := ahead.pop()) in seen:
            continue
        seen.add(who)
        for one in requirements_of(*who):
            name = canonicalize_name(one.name)
            ahead.append((name, frozenset(one.extras)))
            if name != "stillhouse":
                found.append(one)
    return found


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_what_its_image_needs_in_the_versions_that_were_tested(name):
    pins, needed = read_lock(name), all_requirements(EXTRAS[name])

    assert [str(one) for one in needed if canonicalize_name(one.name) not in pins] == []
    for one in needed:
        version = pins[canonicalize_name(one.name)].version
        assert one.specifier.contains(version), f"{one}, but {version} is locked: `make lock`"
    locked = {package: pin.version for package, pin in pins.items() if package in TESTED}
    assert locked == {package: TESTED[package] for package in locked}, "`make lock`"


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_nothing_that_nobody_needs(name):
    """Here torch is a build for CPUs; what is there besides is for its CUDA build."""
    pins, needed = read_lock(name), {canonicalize_name(one.name) for one in all_requirements(EXTRAS[name])}

    for_cuda = pins.keys() - needed
    for package in for_cuda:
        assert pins[package].via <= for_cuda | {"torch"}, package


def test_torch_comes_with_what_its_cuda_build_needs():
    pins = read_lock("worker")

    assert "+" not in pins["torch"].version, "a local version is of an index of its own"
    libraries = {"cublas", "cuda-runtime", "cudnn", "cufft", "cusolver", "cusparse", "nccl", "nvjitlink"}
    assert {name for name in libraries if not any(package.startswith(f"nvidia-{name}") for package in pins)} == set()


@pytest.mark.parametrize("name", [*EXTRAS, "build"])
def test_every_package_of_a_lock_has_hashes(name):
    pins = read_lock(name)

    assert pins
    for package, pin in pins.items():
        assert pin.hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in pin.hashes), package


def test_the_images_are_built_with_what_the_build_asks_for():
    pins = read_lock("build")

    (asked,) = [Requirement(line) for line in PYPROJECT["build-system"]["requires"]]

    assert asked.specifier.contains(pins.pop(asked.name).version)
    assert pins == {}


def test_the_images_install_what_is_locked_and_nothing_else():
    installs = re.findall(r"\bpip (?:install|wheel) (.*)$", DOCKERFILE, re.MULTILINE)

    files = [line.removeprefix("--only-binary=:all: --require-hashes -r ") for line in installs if "-r" in line]
    assert files == ["locks/build.txt", "locks/api.txt", "locks/worker.txt"]
    assert all("--no-index --no-deps" in line for line in installs if "--require-hashes" not in line)
    assert f"--python-version {PYTHON} " in (ROOT / "Makefile").read_text()
