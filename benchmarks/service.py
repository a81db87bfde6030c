"""How fast is the service: alone, in a database that has grown large, and after something has died?

    python benchmarks/service.py                          all of it, on both databases: some 20 minutes
    python benchmarks/service.py latency starts           only these parts
    python benchmarks/service.py load --kinds embedded --jobs 100,10000 --clients 8,64 --seconds 5

latency   `kd serve` on a fresh data folder: 8 client processes, each with one connection, send requests one after
          another without a pause (so the server is saturated); first POST /jobs, then GET /jobs/{id}. There is no
          worker, so nothing else runs.
starts    From `created_at` to the `at` of the trainer's first event, both by the database's clock; with a trainer kept
          warm, and without.
load      Polling clients beside reporting workers, with ever more jobs in the database: see load.py.
recovery  Doorbell, polling, cancel, kill -9, drain: see recovery.py.

Results with hardware: benchmarks/README.md.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from statistics import median
from typing import Any

import load
import recovery
from clients import at_once, p50_and_p99
from servers import KINDS, server, site

from client import Client

TINY = {"dataset": "digits", "teacher": {"arch": "mlp", "epochs": 1}, "epochs": 1, "control": False}

PARTS = ("latency", "starts", "load", "recovery")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--requests", type=int, default=300, help="latency: of each kind, by each of 8 clients")
    parser.add_argument("--starts", type=int, default=7, help="starts: jobs, warm and cold")
    parser.add_argument("--kinds", default=",".join(KINDS), help="load, recovery: which deployments")
    parser.add_argument("--jobs", type=numbers, default=[100, 10_000, 100_000], help="load: sizes of the database")
    parser.add_argument("--clients", type=numbers, default=[8, 16, 32, 64], help="load: how many at once")
    parser.add_argument("--seconds", type=float, default=15, help="load: for each number of clients and each size")
    parser.add_argument("--claims", type=int, default=60, help="recovery: jobs that are queued and claimed")
    parser.add_argument("--repeats", type=int, default=5, help="recovery: cancels, kills and drains")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    if unknown := [*{*options.parts} - {*PARTS}, *{*kinds} - {*KINDS}]:
        parser.error(f"There is no {unknown[0]}. Parts: {', '.join(PARTS)}; kinds: {', '.join(KINDS)}.")

    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n", flush=True)
    for part in options.parts or PARTS:
        if part == "latency":
            print_latency(options.requests)
        elif part == "starts":
            print_starts(options.starts)
        else:
            for kind in kinds:
                if part == "load":
                    load.measure(kind, options.jobs, options.clients, options.seconds)
                else:
                    recovery.measure(kind, options.claims, options.repeats)


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


# -- latency ----------------------------------------------------------------------------------------------


def print_latency(requests: int, clients: int = 8) -> None:
    with site("embedded") as here, server(here.add("latency"), "--no-worker") as url:
        for name, work in (("POST /jobs", post), ("GET /jobs/{id}", get)):
            answers = at_once(in_a_row, [(url, work, requests)] * clients)
            latencies = [seconds for answer in answers for seconds in answer]
            p50, p99 = p50_and_p99(latencies)
            print(
                f"{name:16} {clients} clients, {len(latencies)} requests: "
                f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {max(latencies) * 1e3:.1f} ms",
                flush=True,
            )


def in_a_row(
    everybody_is_there: Callable[[], Any], url: str, work: Callable[[Client, int], Iterator[None]], count: int
) -> list[float]:
    """The seconds of each request."""
    with Client(url) as client:
        client.is_ready()  # the connection is open
        everybody_is_there()
        seconds, last = [], time.perf_counter()
        for _ in work(client, count):
            now = time.perf_counter()
            seconds.append(now - last)
            last = now
    return seconds[1:]  # the first one of `get` also submitted


def post(client: Client, count: int) -> Iterator[None]:
    for _ in range(count):
        client.submit("train", TINY)
        yield


def get(client: Client, count: int) -> Iterator[None]:
    job_id = client.submit("train", TINY)["id"]
    for _ in range(count):
        client.get(job_id)
        yield


# -- starts -----------------------------------------------------------------------------------------------


def print_starts(count: int) -> None:
    for what, standby in (("warm standby", "true"), ("no standby", "false")):
        with site("embedded") as here:
            environment = here.add("starts") | {"STILLHOUSE_STANDBY": standby}
            with server(environment) as url:
                waits = starts(url, count, pause_seconds=6 if standby == "true" else 0.5)
        print(
            f"queued to first event, {what}: median {median(waits):.2f} s "
            f"({min(waits):.2f} to {max(waits):.2f}, {len(waits)} jobs)",
            flush=True,
        )


def starts(url: str, count: int, pause_seconds: float) -> list[float]:
    """Seconds from queued to the trainer's first event, one job after another."""
    waits = []
    with Client(url) as client:
        for _ in range(count):
            time.sleep(pause_seconds)  # long enough for a reserve to have loaded torch
            job = client.wait(client.submit("train", TINY)["id"], timeout=120)
            first = next(event for event in client.events(job["id"]) if event["type"] == "started")
            waits.append(
                (datetime.fromisoformat(first["at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()
            )
    return waits


if __name__ == "__main__":
    main()
