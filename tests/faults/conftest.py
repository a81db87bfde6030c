"""A deployment of each kind, mended before each test, and what an undisturbed job comes to."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import ClientError
from tests.faults.place import JOB, Place
from tests.support.deployed import KINDS, Deployment, deployed
from tests.support.faults.disk import Disk


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with images that load at once: scikit-learn's digits cost every trainer half a second."""
    from kd.data import packing

    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    labels_N = np.arange(1_800) % 10
    centres_CHW = random.integers(60, 190, (10, 8, 8))
    images_NHWC = (centres_CHW[labels_N] + random.integers(-60, 60, (1_800, 8, 8))).astype(np.uint8)[..., None]
    packing.pack(folder, JOB["dataset"], [packing.Chunk(images_NHWC, labels_N)])
    return folder


# For a worker that lives, however slowly: a lease lapses when a test says so.
LEASE_SECONDS = "3600"

# In the suite of every day the larger one, which has more that can break; `make test-faults` takes both.
DEPLOYMENTS = [pytest.param(kind, marks=pytest.mark.slow if kind == "embedded" else ()) for kind in KINDS]


@pytest.fixture(scope="session", params=DEPLOYMENTS)
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, images: Path
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data").mkdir()
    (folder / "data" / "datasets").symlink_to(images)
    # A trainer in reserve: it loads torch while a test looks on.
    with deployed(request.param, folder, STILLHOUSE_STANDBY="true", STILLHOUSE_LEASE_SECONDS=LEASE_SECONDS) as here:
        yield here


@pytest.fixture(scope="session")
def disk(deployment: Deployment) -> Iterator[Disk]:
    """Where its jobs write: small, and of its own, where this process may mount one."""
    disk = Disk(deployment.data / "jobs", megabytes=128)
    yield disk
    disk.unmount()


@pytest.fixture(scope="session")
def undisturbed() -> dict[str, Any]:
    """What the job comes to when nothing happens. Filled once for all tests: it is the same on both deployments."""
    return {}


@pytest.fixture
def place(deployment: Deployment, undisturbed: dict[str, Any], record_property: Callable[[str, object], None]) -> Place:
    place = Place(deployment, record_property, undisturbed)
    _mend(deployment)
    if not undisturbed:
        job = deployment.wait_for_end(place.submit())
        assert (job["status"], job["attempt"]) == ("succeeded", 1), job["error"]
        undisturbed |= place.outcome(job)
    return place


def _mend(deployment: Deployment) -> None:
    """Whatever the test before has broken: everything is up, nothing is asked for."""
    if deployment.kind == "production":
        deployment.broker.mend()
    for worker in deployment.workers:
        if worker.alive and worker.environment["STILLHOUSE_LEASE_SECONDS"] != LEASE_SECONDS:
            worker.kill()
    deployment.crew(1)
    if not deployment.api.alive:
        deployment.start_api()
    for status in ("running", "queued"):
        for job in deployment.client.list(status=status):
            with contextlib.suppress(ClientError):
                deployment.client.cancel(job["id"])
            deployment.let_lease_lapse(job["id"])  # its worker may be gone
            deployment.wait_for_end(job["id"])
