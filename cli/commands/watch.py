"""`kd watch`: a job's live progress, until it is over and its result is on the table."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cli.given.url import DEFAULT_URL, Url
from cli.shown import results, status
from cli.shown.console import console, print_json
from cli.shown.narration import Narration
from cli.shown.progress import JobProgress, ProgressDisplay, progress_display
from cli.shown.results import Outcome
from kd.outputs import ONNX_ARCHIVE, weights_of

if TYPE_CHECKING:
    from client import Client
    from client.answers import Json

POLL_SECONDS = 0.5
SILENCE_SECONDS = 600.0  # a server that is gone for so long is not being restarted


def watch(
    job: Annotated[str, typer.Argument(help="The job's id.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Say nothing but the finished job, as JSON.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Follow a job to its end, also over pauses. Exits with 0 only if it succeeded."""
    from client import Client

    with Client(url) as client:
        raise typer.Exit(follow(client, job, json=json))


def follow(client: "Client", job_id: str, *, json: bool = False) -> int:
    """Show a job's progress until it is over, then its result; answers with the exit code."""
    narration = Narration()
    with progress_display(quiet=json) as progress:
        try:
            job = show_progress(client, job_id, narration, progress)
        except KeyboardInterrupt:
            progress.say(f"The job goes on without you: `kd watch {job_id}` looks again, `kd cancel {job_id}` ends it.")
            return 130
    if json:
        print_json(job)
    else:
        show_outcome(client, job, narration)
    return 0 if job["status"] == "succeeded" else 1


def show_progress(client: "Client", job_id: str, narration: Narration, progress: ProgressDisplay) -> "Json":
    """Show what happens until the job is over; while it is paused or waits, why."""
    for job, events in poll(client, job_id, progress):
        for event in events:
            if (lost := status.lost_attempt(event)) is not None:
                progress.say(lost)
            if event["type"] == "claimed" and event["attempt"] > 1:
                progress.say(f"Attempt {event['attempt']} begins: the one before was interrupted.")
            for line in narration.narrate(event["type"], event["data"]):
                progress.say(line)
        if job["is_terminal"]:
            return job
        if (why := status.idle_reason(job)) is not None:
            progress.hold(why)
        else:
            progress.show(progress_now(job), narration.accuracy.get(job["phase"]))
    raise AssertionError("the last poll finds a finished job")


def progress_now(job: "Json") -> JobProgress:
    """A job's progress; where a phase has only begun, without the numbers of the one before."""
    so_far, phase = job["progress"], job["phase"] or job["status"]
    if so_far["phase"] == phase:
        return cast(JobProgress, so_far)
    return {"fraction": so_far["fraction"], "phase": phase}


def poll(client: "Client", job_id: str, progress: ProgressDisplay) -> "Iterator[tuple[Json, list[Json]]]":
    """The job and its new events, twice a second. A server that is being restarted is waited for."""
    from client import ClientError

    seen, answered, silent = 0, 0.0, False
    while True:
        try:
            # The job first: of the run of one that is over there are no events after these.
            job = client.get(job_id)
            events = list(client.events(job_id, after=seen))
        except ClientError as error:
            if not error.passing or not answered or time.monotonic() - answered > SILENCE_SECONDS:
                raise
            if not silent:
                progress.say(f"{client.url} does not answer; trying again. Jobs go on meanwhile.")
            silent = True
        else:
            if silent:
                progress.say("The server is back.")
            answered, silent = time.monotonic(), False
            seen = events[-1]["seq"] if events else seen
            yield job, events
        time.sleep(POLL_SECONDS)


def show_outcome(client: "Client", job: "Json", narration: Narration) -> None:
    """How it ended: the result, or why there is none."""
    to = console()
    if job["status"] == "succeeded" and job["mode"] == "ingest":
        results.show_dataset(job, to)
    elif job["status"] == "succeeded" and job["mode"] == "evaluate":
        results.show_evaluation(job, to)
    elif job["status"] == "succeeded" and job["mode"] == "export":
        to.print(f"`kd download {job['id']} --artifact {ONNX_ARCHIVE}` fetches it.")
    elif job["status"] == "succeeded":
        results.show(outcome(client, job, narration), to)
        to.print(f"`kd download {job['id']}` fetches the student.")
    elif job["status"] == "failed":
        error = job["error"] or {}
        to.print(f"The job failed: {error.get('message', 'nobody knows why')}", markup=False)
        if error.get("hint"):
            to.print(error["hint"], markup=False)
        if advice := status.retry_advice(job):
            to.print(advice, markup=False)
        to.print(f"`kd logs {job['id']}` shows what the trainer printed.")
    else:
        to.print(f"The job was {job['status']}.")


def outcome(client: "Client", job: "Json", narration: Narration) -> Outcome:
    """A succeeded job's result, with the sizes of its files."""
    artifacts = {artifact["name"]: artifact["size"] for artifact in client.artifacts(job["id"])}
    config = job["resolved_spec"]["config"]
    files = {role: weights_of(role) for role in results.teachers(config)}
    sizes = {role: artifacts[name] for role, name in files.items() if name in artifacts}
    sizes["student"] = client.checkpoint(job["id"], "best")["size"]
    return Outcome(
        metrics=job["result"]["metrics"],
        seconds=job["result"]["seconds"],
        archs=results.archs(config, narration.brought),
        sizes=sizes,
        verdict=narration.verdict,
        brought=results.brought(config),
    )
