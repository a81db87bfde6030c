"""Does it stay as fast when the database grows? Clients that poll, while 4 workers report, beside ever more jobs.

Seeded are databases of 100, 10,000 and 100,000 jobs (see seeding.py), the largest one with 10 million metric points;
each has its own server. Every client is a process with one connection that does one thing after another, with a pause
of 0.5 s on average between them, as long as that of a client that cannot wait for news: below saturation, so that what
is measured is not the queue for two cores. All things are as likely: submit a job, get one, list the newest 20, all
events of one, all metrics of one. Half of the jobs asked for are running, the others are any of those that have ended.

The 4 workers are simulated: processes that hold real claims and write to the database, through jobs.queue.leases, what
workers write, without any training: 4 times a second 20 points, progress and an event, a heartbeat every 2 s, a
checkpoint every 5 s.

The databases take turns for each number of clients, so that what else the machine does strikes all of them.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from clients import at_once, p50_and_p99, processes
from seeding import SPEC, seed
from servers import server, site
from sqlalchemy import delete, select

from client import Client
from jobs.database.engine import Sessions, connect
from jobs.files.retention import NewFile
from jobs.queue import fence, leases, recording
from jobs.states import FINAL, State
from jobs.tables import FileKind, Job
from jobs.workers import roster
from jobs.workers.needs import Offer

PAUSE_SECONDS = 0.5
WORKERS = 4
WRITES_A_SECOND = 4
POINTS_A_WRITE = 20
# What the clients submit has this name, and is gone before the next measurement.
SUBMITTED = "submitted under load"

OPERATIONS: dict[str, Callable[[Client, str], Any]] = {
    "submit": lambda client, _: client.submit(SPEC, name=SUBMITTED),
    "poll": lambda client, job_id: client.get(job_id),
    "list": lambda client, _: list(islice(client.list(page_size=20), 20)),
    "events": lambda client, job_id: list(client.events(job_id)),
    "metrics": lambda client, job_id: client.metrics(job_id),
}

# All of them together: a p99 of one kind alone is that of a hundred requests, and so of the slowest one.
EVERY = "any of them"

Seconds = dict[str, list[float]]
"""How long each of an operation took."""


def measure(kind: str, sizes: Sequence[int], clients: Sequence[int], seconds: float) -> None:
    with site(kind) as here, contextlib.ExitStack() as running:
        places = {}
        for size in sizes:
            began = time.monotonic()
            environment = here.add(f"jobs{size}")
            seed(environment["STILLHOUSE_DATABASE_URL"], size)
            print(f"{kind}: {size:,} jobs seeded in {time.monotonic() - began:.0f} s", flush=True)
            url = running.enter_context(server(environment, "--no-worker"))
            places[size] = (url, environment["STILLHOUSE_DATABASE_URL"])
        found: dict[tuple[int, int], Seconds] = {}
        for count in clients:
            for size, (url, database) in places.items():
                # A few clients take longer to ask often enough for a p99.
                found[count, size] = _under_load(url, database, count, seconds * max(1, 32 / count))
    _print(kind, sizes, clients, found)


def _under_load(url: str, database: str, clients: int, seconds: float) -> Seconds:
    sessions = Sessions(connect(database))
    with sessions.read() as session:
        ended = list(session.execute(select(Job.id).where(Job.state.in_(FINAL))).scalars())
    with reporting(database) as running:
        given = [
            (url, number, seconds, running, random.sample(ended, min(len(ended), 500))) for number in range(clients)
        ]
        together: Seconds = {name: [] for name in OPERATIONS}
        for answer in at_once(poll, given):
            for name, latencies in answer.items():
                together[name] += latencies
    with sessions.begin() as session:
        session.execute(delete(Job).where(Job.state == State.QUEUED, Job.name == SUBMITTED))
    return together


def poll(everybody_is_there: Callable[[], Any], url: str, number: int, seconds: float, *jobs: Sequence[str]) -> Seconds:
    """What one client does."""
    chance = random.Random(number)
    found: Seconds = {name: [] for name in OPERATIONS}
    with Client(url) as client:
        client.is_ready()  # the connection is open
        everybody_is_there()
        end = time.monotonic() + seconds
        time.sleep(chance.uniform(0, PAUSE_SECONDS))
        while time.monotonic() < end:
            name, job_id = chance.choice(list(OPERATIONS)), chance.choice(chance.choice(jobs))
            began = time.perf_counter()
            OPERATIONS[name](client, job_id)
            found[name].append(time.perf_counter() - began)
            time.sleep(chance.uniform(0.5, 1.5) * PAUSE_SECONDS)
    return found


# -- the workers that report ------------------------------------------------------------------------------


@contextlib.contextmanager
def reporting(database: str) -> Iterator[list[str]]:
    """Workers at work for as long as the block lasts, as the ids of their jobs."""
    over, claimed = processes.Event(), processes.Queue()
    started = [processes.Process(target=report, args=(database, n, claimed, over)) for n in range(WORKERS)]
    for process in started:
        process.start()
    try:
        yield [claimed.get(timeout=60) for _ in started]
    finally:
        over.set()
        for process in started:
            process.join()
            assert process.exitcode == 0, "a worker failed; what it said is above"


def report(database: str, number: int, claimed: Any, over: Any) -> None:
    """What one worker writes."""
    sessions, ttl, name = Sessions(connect(database)), timedelta(seconds=30), f"reporter-{number}"
    me = roster.Self(name, "localhost", 1, "0", Offer(gpus=0, memory_bytes=2**34))
    with sessions.begin() as session:
        roster.beat(session, me)
        claim = leases.claim(session, worker=name, ttl=ttl)
    assert claim is not None, "some jobs of the seed wait"
    claimed.put(claim.job_id)
    write = 0
    while not over.wait(1 / WRITES_A_SECOND):
        write += 1
        step = write * POINTS_A_WRITE
        with sessions.begin() as session:
            recording.record(
                session,
                claim,
                events=[{"type": "evaluated", "data": {"phase": "student", "step": step}}],
                metrics=[("student.loss", at, 1 / at) for at in range(step, step + POINTS_A_WRITE)],
                phase="student",
                progress={"fraction": 0.5, "phase": "student", "step": step},
                latest_metrics={"student.loss": 1 / step},
            )
        if write % (2 * WRITES_A_SECOND) == 0:
            with sessions.begin() as session:
                leases.renew(session, claim, ttl=ttl)
            with sessions.begin() as session:
                roster.beat(session, me)
        if write % (5 * WRITES_A_SECOND) == 0:
            with sessions.begin() as session:
                _publish(session, claim, step)
    with sessions.begin() as session:  # for the next measurement
        leases.requeue(session, claim, keep_stall=False, max_stalls=3)
        roster.leave(session, name)


def _publish(session: Any, claim: fence.Claim, step: int) -> None:
    files = [
        NewFile(kind=kind, name=f"{kind}.bin", path=f"jobs/{claim.job_id}/{step}-{kind}", size=1_000, sha256="0" * 64)
        for kind in (FileKind.STUDENT, FileKind.RESUME)
    ]
    told = {"phase": "student", "epoch": step, "best": False, "metrics": {}, "fraction": step / 1e9}
    recording.publish(session, claim, step=step, files=files, **told)


# -- the table --------------------------------------------------------------------------------------------


def _print(kind: str, sizes: Sequence[int], clients: Sequence[int], found: dict[tuple[int, int], Seconds]) -> None:
    print(f"\n{kind}: p50 / p99 in ms (requests)\n")
    print("| | clients |", *(f"{size:,} jobs |" for size in sizes), "p99, last : first |")
    print("|---" * (len(sizes) + 3) + "|")
    for name in [*OPERATIONS, EVERY]:
        for count in clients:
            cells, tails = [], []
            for size in sizes:
                of = found[count, size]
                latencies = [one for each in of.values() for one in each] if name == EVERY else of[name]
                p50, p99 = p50_and_p99(latencies)
                cells.append(f"{p50:.1f} / {p99:.1f} ({len(latencies)}) |")
                tails.append(p99)
            print(f"| {name} | {count} |", *cells, f"{tails[-1] / tails[0]:.1f} |")
    print(flush=True)
