"""Faults of disks that lie: of a file that is to be read again, one bit is not as it was written."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
from sqlalchemy import select

from jobs.database.engine import UNREACHABLE
from jobs.files import layout, retention
from jobs.states import FINAL, State
from jobs.tables import File, FileKind, Job
from kd.labels import cache
from kd.outputs import TEACHER
from tests.chaos.harm import Harm
from tests.chaos.processes import resume_of_a_killed_worker
from tests.chaos.users import BORROWED, PACKED, Users
from tests.chaos.world import World
from tests.support.faults.disk import flip

DATA_SET_FILES = ("images.npy", "labels.npy", "split.npy", "facts.json")


def flip_a_bit_of_a_resume_state(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Of a job that waits or is paused, or whose worker is killed for it."""
    with contextlib.suppress(*UNREACHABLE):
        path = _resume_of_a_waiting_job(world, dice) or resume_of_a_killed_worker(world, dice)
        if path is not None:
            yield from _flip_for_good(world, path, dice)


def flip_a_bit_of_a_download(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Of a job's best student, say, or of its report: nobody but who downloads it reads it again."""
    with contextlib.suppress(*UNREACHABLE), world.db.read() as session:
        students = select(File.path).where(File.kind == FileKind.STUDENT)
        # (What a job has of a teacher that was lent to it, it reads itself until it has ended.)
        artifacts = select(File.path).join(Job, Job.id == File.job_id).where(File.kind == FileKind.ARTIFACT)
        artifacts = artifacts.where(Job.state.in_(FINAL), Job.id != world.lender)
        found = [path for path in session.execute(students.union(artifacts)).scalars() if path not in world.damaged]
    if found:
        yield from _flip_for_good(world, dice.choice(found), dice)


def flip_a_bit_of_a_label_table(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Finished, or abandoned in the middle; of one that a trainer has mapped, it would have been read already."""
    folder = world.deployment.data / layout.LABELS
    tables = [path for path in folder.glob("*") if path.name.endswith((cache.DRAFT, cache.ARRAY))]
    tables = sorted(path for path in tables if not path.name.endswith(cache.PARAMETERS))
    if tables:
        path = dice.choice(tables)
        with _trainers_asleep(world) as trainers, contextlib.suppress(FileNotFoundError):
            if not any(_has_open(trainer, path) for trainer in trainers):
                byte = flip(path, dice)
                yield Harm(f"{path.name}, byte {byte}", 0)


def flip_a_bit_of_a_lent_teacher(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    with contextlib.suppress(*UNREACHABLE), world.db.read() as session:
        lent = select(File.path).where(File.job_id == world.lender, File.name == TEACHER)
        path = session.execute(lent).scalar_one()
        if not _runs(world, users, BORROWED):
            yield from _flip_for_a_while(world, users, dice, path, BORROWED, "bad_teacher")


def flip_a_bit_of_a_data_set(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    with contextlib.suppress(*UNREACHABLE):
        if not _runs(world, users, PACKED):
            path = f"{layout.DATASETS}/{world.packed}/{dice.choice(DATA_SET_FILES)}"
            yield from _flip_for_a_while(world, users, dice, path, PACKED, "bad_data")


def _flip_for_good(world: World, path: str, dice: Random) -> Iterator[Harm]:
    with contextlib.suppress(FileNotFoundError):  # superseded a moment ago
        world.damaged.add(path)
        byte = flip(world.deployment.data / path, dice)
        yield Harm(f"{path}, byte {byte}", 0)


def _flip_for_a_while(world: World, users: Users, dice: Random, path: str, spec: str, code: str) -> Iterator[Harm]:
    """Of a file that many jobs share: those that read it meanwhile may fail with this code, and no others.
    A job that comes meanwhile may be refused."""
    done = {ticket.key for ticket in users.tickets if ticket.ended}
    users.refusable.add(spec)
    byte = flip(world.deployment.data / path, dice)
    try:
        users.hire(1, for_one_job=True, spec=spec)
        yield Harm(f"{path}, byte {byte}", dice.uniform(4, 12))
    finally:
        flip(world.deployment.data / path, at=byte)
        users.refusable.discard(spec)
        for ticket in users.tickets:
            if ticket.spec == spec and ticket.key not in done:
                ticket.may_fail_of.add(code)


def _resume_of_a_waiting_job(world: World, dice: Random) -> str | None:
    with world.db.read() as session:
        waiting = select(Job.id).where(Job.state.in_([State.QUEUED, State.PAUSED]), Job.checkpoint_step >= 0)
        found = [retention.newest_resume(session, job_id)[0] for job_id in session.execute(waiting).scalars()]
    return dice.choice(paths) if (paths := [resume.path for resume in found if resume]) else None


def _runs(world: World, users: Users, spec: str) -> bool:
    """Whether a job of this spec does at this moment. One that is claimed from now on loads torch for a second."""
    ids = {job_id for ticket in users.tickets if ticket.spec == spec for job_id in ticket.ids}
    with world.db.read() as session:
        running = session.execute(select(Job.id).where(Job.state == State.RUNNING)).scalars()
        return not ids.isdisjoint(running)


@contextlib.contextmanager
def _trainers_asleep(world: World) -> Iterator[list[psutil.Process]]:
    """All of them, so that none opens a file between our look and what we do. Those that slept before sleep on."""
    trainers, ours = world.leftovers("worker.trainer"), []
    for trainer in trainers:
        with contextlib.suppress(psutil.Error):
            if trainer.status() != psutil.STATUS_STOPPED:
                trainer.suspend()
                ours.append(trainer)
    try:
        yield trainers
    finally:
        for trainer in ours:
            with contextlib.suppress(psutil.Error):
                trainer.resume()


def _has_open(process: psutil.Process, path: Path) -> bool:
    with contextlib.suppress(OSError):
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        files = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        return str(path) in maps or str(path) in files
    return False
