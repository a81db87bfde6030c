"""Client processes that begin at the same moment, and what their waiting comes to."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from queue import Empty
from statistics import quantiles
from typing import Any, TypeVar

T = TypeVar("T")

# Forked from a small server that has imported what they all need: 64 of them are there within a second.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["client", "jobs.queue.leases"])


def at_once(work: Callable[..., T], arguments: Sequence[tuple[Any, ...]], timeout_seconds: float = 600) -> list[T]:
    """`work(everybody_is_there, *arguments)` in a process for each; it calls the first one when it is prepared."""
    barrier = processes.Barrier(len(arguments))
    results = processes.Queue()
    started = [processes.Process(target=_answer, args=(work, barrier, results, given)) for given in arguments]
    for process in started:
        process.start()
    answers: list[T] = []
    give_up = time.monotonic() + timeout_seconds
    while len(answers) < len(started):
        try:
            answer, error = results.get(timeout=1)
        except Empty:
            assert time.monotonic() < give_up, f"clients are still busy after {timeout_seconds} s"
            continue
        assert error is None, error
        answers.append(answer)
    for process in started:
        process.join()
    return answers


def _answer(work: Callable[..., Any], barrier: Any, results: Any, given: tuple[Any, ...]) -> None:
    try:
        results.put((work(barrier.wait, *given), None))
    except Exception as error:
        barrier.abort()  # so that nobody waits for us
        results.put((None, f"{type(error).__name__}: {error}"))


def p50_and_p99(seconds: Sequence[float]) -> tuple[float, float]:
    """In milliseconds."""
    cut = quantiles(seconds, n=100, method="inclusive")
    return cut[49] * 1e3, cut[98] * 1e3
