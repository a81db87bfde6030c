"""What must be true when all is over: nothing lost, doubled or stuck, and the weights as if nothing had been.

Read from the API, the database and the disk.
"""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import httpx2
from sqlalchemy import select

from jobs.states import MOVES, State
from jobs.tables import Delivery, Event, File, FileKind, Job
from tests.chaos.audience import Audience
from tests.chaos.users import BORROWED, DIVERGING, Ticket, Users, borrowing
from tests.chaos.world import World

# A user's job may fail of these: they say what chaos did to it, often enough in a row.
EXPLICABLE = ("disk_full", "worker_lost", "crashed", "killed")

# A longer rescue, or one that ended before it began, was measured by a clock that was set in between.
SENSIBLE_SECONDS = 3_000.0

ALLOWED = {(move.before, move.after) for move in MOVES}

Json = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """What a spec comes to when nobody disturbs it: a student, or a failure of its own."""

    sha256: str = ""
    metrics: Json = field(default_factory=dict)
    failure: str | None = None


@dataclass
class Verdict:
    problems: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    resumes: int = 0
    """Attempts that went on past step 0."""
    rescue_seconds: list[float] = field(default_factory=list)
    """From a worker's last word on a job until somebody found that its lease had run out."""


def references(world: World, seconds: float) -> dict[str, Reference]:
    """Run each spec once, in peace."""
    deployment = world.deployment
    submitted = {name: deployment.client.submit(spec)["id"] for name, spec in world.specs.items()}
    world.lender = submitted["train"]
    deployment.wait_for_end(world.lender, seconds)
    world.specs[BORROWED] = borrowing(world.lender)
    submitted[BORROWED] = deployment.client.submit(world.specs[BORROWED])["id"]
    found = {}
    for name, job_id in submitted.items():
        job = deployment.wait_for_end(job_id, seconds)
        diverged = job["status"] == "failed" and job["error"]["code"] == "diverged"
        as_meant = diverged if name == DIVERGING else job["status"] == "succeeded"
        assert as_meant, f"undisturbed, {name!r} ended as {job['status']}: {job['error']}"
        found[name] = Reference(failure=job["error"]["code"]) if diverged else _outcome(world, job)
    return found


def judge(world: World, users: Users, audience: Audience, expected: dict[str, Reference], before: set[str]) -> Verdict:
    """Look at every job. `before` are the ids of jobs that were there before the users came."""
    verdict = Verdict()
    problems = verdict.problems
    problems += [f"the server answered 500 to {error}" for error in users.internal_errors]
    problems += world.exits

    there = {job["id"] for job in world.deployment.client.list()} - before
    known = {job_id for ticket in users.tickets for job_id in ticket.ids}
    problems += [f"lost: {job_id} is gone" for job_id in known - there]
    problems += [f"doubled: nobody was told of {job_id}" for job_id in there - known]
    for ticket in users.tickets:
        _judge_ticket(ticket, verdict)
    for job_id in sorted(known & there):
        ticket = next(ticket for ticket in users.tickets if job_id in ticket.ids)
        told = [
            f"{job_id} ({ticket.spec}, {ticket.fate}): {problem}"
            for problem in _judge_job(world, job_id, ticket, expected, verdict)
        ]
        problems += told
    problems += _judge_audience(world, audience, before)
    problems += _judge_files(world)
    problems += [f"a trainer is left over: pid {trainer.pid}" for trainer in world.leftovers("worker.trainer")]
    return verdict


def _judge_ticket(ticket: Ticket, verdict: Verdict) -> None:
    if ticket.trouble:
        verdict.problems.append(f"the user of {ticket.key} had trouble: {ticket.trouble}")
    if len(ticket.ids) > 1:
        verdict.problems.append(f"doubled: {ticket.key} became {', '.join(sorted(ticket.ids))}")
    if not ticket.ids:
        verdict.problems.append(f"stuck: {ticket.key} could never be submitted")


def _judge_job(
    world: World, job_id: str, ticket: Ticket, expected: dict[str, Reference], verdict: Verdict
) -> list[str]:
    job = world.deployment.job(job_id)
    events = world.deployment.events(job_id)
    problems = _judge_events(events, job)
    verdict.endings[job["status"]] += 1
    verdict.attempts += job["attempt"]
    _measure(events, verdict)

    if not job["is_terminal"]:
        problems.append(f"stuck: it is still {job['status']} in attempt {job['attempt']}")
    if job["status"] == "cancelled" and not ticket.asked_to_cancel:
        problems.append("cancelled, though nobody had asked")
    reference = expected[ticket.spec]
    if job["status"] == "failed":
        verdict.failures[job["error"]["code"]] += 1
        # (At which step that is told depends on when somebody looks at the loss, twice a second.)
        if job["error"]["code"] not in (*EXPLICABLE, *ticket.may_fail_of, reference.failure):
            problems.append(f"failed without a reason of ours: {job['error']}")
    if job["status"] == "succeeded" and reference.failure is not None:
        problems.append(f"succeeded, undisturbed it fails as {reference.failure}")
    elif job["status"] == "succeeded":
        outcome = _outcome(world, job)
        if outcome.sha256 != reference.sha256:
            problems.append(f"its best student is {outcome.sha256[:12]}…, undisturbed {reference.sha256[:12]}…")
        problems += [
            f"{name} is {outcome.metrics.get(name)}, undisturbed {value}"
            for name, value in reference.metrics.items()
            if outcome.metrics.get(name) != value
        ]
    return problems


def _outcome(world: World, job: Json) -> Reference:
    """What does not depend on the machine's mood."""
    best = world.deployment.client.checkpoint(job["id"], "best")
    metrics = {name: value for name, value in job["result"]["metrics"].items() if ".test." in name or name == "gain"}
    return Reference(best["sha256"], metrics)


def _judge_events(events: list[Json], job: Json) -> list[str]:
    problems = []
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        problems.append(f"its events have gaps: {[event['seq'] for event in events]}")
    states = [State(event["data"]["state"]) for event in events if event["type"] == "state"]
    if not states or states[0] is not State.QUEUED:
        problems.append(f"its life begins with {states[:1]}")
    problems += [f"it moved from {one} to {next_}" for one, next_ in pairwise(states) if (one, next_) not in ALLOWED]
    if states and states[-1] != job["status"]:
        problems.append(f"it is {job['status']}, its last event says {states[-1]}")
    if (running := states.count(State.RUNNING)) != job["attempt"]:
        problems.append(f"doubled: it began to run {running} times in {job['attempt']} attempts")
    # A worker that dies between this word and the job's end leaves it to the next attempt to say it again.
    finished = Counter(event["attempt"] for event in events if event["type"] == "finished")
    if any(count > 1 for count in finished.values()):
        problems.append(f"doubled: it finished more than once in an attempt: {dict(finished)}")
    if job["status"] == "succeeded" and finished[job["attempt"]] != 1:
        problems.append(f"it succeeded, but attempt {job['attempt']} never said that it had finished")
    return problems


def was_told_all(world: World, before: set[str], audience: Audience) -> bool:
    """Whether the webhook has brought every change of every job that is not from `before`."""
    changes = _changes(world, before)
    return all(set(seqs) <= set(audience.told[job_id]) for job_id, seqs in changes.items())


def _changes(world: World, before: set[str]) -> dict[str, list[int]]:
    """The numbers of the events that say a change of state, for each job."""
    changes = defaultdict(list)
    with world.db.read() as session:
        rows = session.execute(select(Event.job_id, Event.seq).where(Event.type == "state").order_by(Event.seq))
        for job_id, seq in rows:
            if job_id not in before:
                changes[job_id].append(seq)
    return changes


def _judge_audience(world: World, audience: Audience, before: set[str]) -> list[str]:
    """A stream has said all that its log has, and a webhook every change: in order, and nothing else."""
    problems = list(audience.problems)
    if not audience.followed:
        problems.append("no stream was followed to its end")
    for job_id, heard in audience.followed.items():
        logged = [event["seq"] for event in world.deployment.events(job_id)]
        if heard != logged:
            kind = "lost: " if set(logged) - set(heard) else ""
            problems.append(
                f"{kind}the stream of {job_id} said {len(heard)} events, its log has {len(logged)};"
                f" left out: {sorted(set(logged) - set(heard))}"
            )
    for job_id, logged in _changes(world, before).items():
        told, late = audience.told[job_id], _tried_again(world, job_id)
        kept_order = [seq for seq in told if seq not in late] == [seq for seq in logged if seq not in late]
        if sorted(told) != logged or not kept_order:
            kind = "lost: " if set(logged) - set(told) else ""
            problems.append(f"{kind}the webhook was told of {told} of {job_id}, its log has the changes {logged}")
    return problems


def _tried_again(world: World, job_id: str) -> set[int]:
    """The events of which the webhook was told at a second try: those after it were not held up."""
    with world.db.read() as session:
        late = select(Delivery.seq).where(Delivery.job_id == job_id, Delivery.tries > 1)
        return set(session.execute(late).scalars())


def _judge_files(world: World) -> list[str]:
    """Each row has its file, whole and as it was said to be; of one that we have damaged there is no download."""
    problems = []
    with world.db.read() as session:
        rows = session.execute(select(File, Job.state).join(Job, Job.id == File.job_id)).all()
        for file, state in rows:
            path = world.deployment.data / file.path
            if not path.is_file():
                problems.append(f"lost: {file.path} of a job that {state} has a row and is not there")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
                if file.path not in world.damaged:
                    problems.append(f"damaged: {file.path} is not what its row says")
                elif (answer := _download(world, file)) not in (None, "410 file_damaged"):
                    problems.append(f"{file.path} is damaged, and was answered with {answer}")
        kinds = defaultdict(set)
        for file, state in rows:
            if state is State.SUCCEEDED:
                kinds[file.job_id].add(file.kind)
        problems += [
            f"lost: {job_id} succeeded and has only {sorted(found)}"
            for job_id, found in kinds.items()
            if not {FileKind.STUDENT, FileKind.ARTIFACT} <= found
        ]
    return problems


def _download(world: World, file: File) -> str | None:
    """The status and the code of the answer to who wants the file; None if nobody can."""
    if file.kind is FileKind.RESUME:
        return None
    where = f"artifacts/{file.name}" if file.checkpoint_id is None else f"checkpoints/{file.checkpoint_id}/download"
    answer = httpx2.get(f"{world.deployment.url}/jobs/{file.job_id}/{where}", timeout=20, trust_env=False)
    return f"{answer.status_code} {answer.json().get('code') if answer.is_error else ''}"


def _measure(events: list[Json], verdict: Verdict) -> None:
    """How often it went on from a checkpoint, and for how long it lay about after a worker fell silent."""
    verdict.resumes += sum(event["type"] == "claimed" and event["data"]["checkpoint_step"] > 0 for event in events)
    for last_word, event in pairwise(events):
        if event["data"].get("reason") == "lease_expired":
            lay_about = datetime.fromisoformat(event["at"]) - datetime.fromisoformat(last_word["at"])
            if 0 <= (seconds := lay_about.total_seconds()) < SENSIBLE_SECONDS:
                verdict.rescue_seconds.append(seconds)


def evidence(world: World, verdict: Verdict) -> Json:
    """The whole story of the jobs with problems."""
    there = [job["id"] for job in world.deployment.client.list()]
    concerned = [job_id for job_id in there if any(job_id in problem for problem in verdict.problems)]
    return {
        job_id: {"job": world.deployment.job(job_id), "events": world.deployment.events(job_id)} for job_id in concerned
    }
