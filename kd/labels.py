"""What a teacher says of every view of every image: labelled once, shared by all runs with this teacher and data."""

import hashlib
import json
import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kd import tables, training
from kd.checkpoint import State
from kd.errors import BadLabels
from kd.events import Event, Noted, PhaseStarted, Step
from kd.tables import Table
from kd.training import autocast
from kd.workbench import Workbench

LABELLING_BATCH = 256
# A kill loses at most this much labelling.
CHUNK_SECONDS = 2.0
CHUNK_BATCHES = 64
# How often a run that waits for another one's labels looks for them.
WAIT_SECONDS = 0.2

# Shapes: N = images, V = views of each, C = classes, B = batch.


def obtain(bench: Workbench, teacher: nn.Module, views: int) -> Generator[Event, None, Tensor]:
    """The table of this teacher's labels: fp16 [N, V, C] on the device; read if it exists, else written.

    `views` counts per image and is at most `bench.plan.count`. The table's name is the digest of everything it
    depends on, so a table that is there is the right one. While another run writes it, this one waits, and goes on
    with it if the other one dies.
    """
    count, classes = len(bench.train), len(bench.dataset.classes)
    bench.enter("labelling")
    depends_on = {
        "format": 1,
        "teacher": digest(bench.teacher_arch, training.weights_of(bench, "teacher")),
        "dataset": bench.dataset.digest,
        "plan": asdict(bench.plan),
        "views": views,
        "precision": str(bench.autocast or torch.float32),
    }
    name = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32]
    path = bench.labels / f"{name}.npy"
    yield PhaseStarted(phase="labelling", facts={"images": count, "views": views, "bytes": 2 * count * views * classes})

    shape = (count, views, classes)
    with ExitStack() as lock:
        table_NVC, start = None, None
        if bench.team.leads:
            table_NVC, start = yield from secure(path, shape, lock)
        start = bench.team.agreed(start)
        if start is not None:
            if table_NVC is None:
                table_NVC = tables.join_draft(path)
            written = label_views(bench, teacher, range(views), torch.from_numpy(table_NVC), start=start)
            yield from told(bench, kept(bench, path, table_NVC, written), start=start, planned=count * views)
            bench.team.wait()
            if bench.team.leads:
                if not np.isfinite(table_NVC).all():
                    raise BadLabels(bench.teacher_arch)
                tables.finish(path, table_NVC, depends_on)
    if table_NVC is None:
        table_NVC = tables.read(path)
        assert table_NVC is not None, "the leader has just read it"
    return at_home(torch.from_numpy(table_NVC), bench.device)


def secure(
    path: Path, shape: tuple[int, int, int], lock: ExitStack
) -> Generator[Event, None, tuple[Table, int | None]]:
    """The table and None if there is one; else, once nobody else writes it, its draft and how many labels are safe."""
    waited = False
    while True:
        alone = lock.enter_context(tables.writing(path))
        table_NVC = tables.read(path)
        if table_NVC is not None:
            yield Noted(
                code="labels_reused", message=f"These labels exist already (table {path.stem}); the teacher stays idle."
            )
            return table_NVC, None
        if alone:
            return tables.open_draft(path, shape)
        lock.close()
        if not waited:
            waited = True
            yield Noted(code="labels_awaited", message=f"Another run is writing these labels (table {path.stem}).")
        time.sleep(WAIT_SECONDS)


def at_home(table_NVC: Tensor, device: torch.device) -> Tensor:
    """The table where it will be read: on the device, unless it would fill more than half of what is free there."""
    if device.type == "cuda" and table_NVC.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
        return table_NVC
    return table_NVC.to(device)


def label_views(
    bench: Workbench, teacher: nn.Module, views: range, table_NVC: Tensor, *, start: int = 0
) -> Iterator[int]:
    """Fill a table with the teacher's logits for these view numbers of every training image, view after view.

    Goes on after the first `start` labels; yields after every batch how many are written. In a team every process
    fills in its share of the batches.
    """
    count, team, viewer = len(bench.train), bench.team, bench.train.viewer
    column_batches = math.ceil(count / LABELLING_BATCH)
    total = column_batches * len(views)
    first = start // count * column_batches + start % count // LABELLING_BATCH

    def images_of(number: int) -> Tensor:
        begin = number % column_batches * LABELLING_BATCH
        return torch.arange(begin, min(begin + LABELLING_BATCH, count))

    viewer.pixels.expect(images_of(number) for number in range(first + team.rank, total, team.size))
    for turn in range(first, total, team.size):
        if turn + team.rank < total:
            column, image_B = (turn + team.rank) // column_batches, images_of(turn + team.rank)
            with torch.inference_mode(), autocast(bench):
                logits_BC = teacher(viewer.show(image_B, torch.full_like(image_B, views[column])))
                table_NVC[int(image_B[0]) : int(image_B[-1]) + 1, column] = logits_BC.to(table_NVC)
        bench.position.step += 1
        last = min(turn + team.size, total) - 1
        yield last // column_batches * count + int(images_of(last)[-1]) + 1


def told(bench: Workbench, written: Iterator[int], *, start: int = 0, before: int = 0, planned: int) -> Iterator[Step]:
    """Say how labelling goes. Of the run's `planned` labels, `before` belong to earlier tables."""
    bench.begin_counting()
    said, now = start, start
    for now in written:
        if bench.time_to_speak():
            yield bench.step("labelling", (before + now) / planned, now - said, {})
            bench.begin_counting()
            said = now
    if now > said:
        yield bench.step("labelling", (before + now) / planned, now - said, {})


def kept(bench: Workbench, path: Path, table_NVC: Table, written: Iterator[int]) -> Iterator[int]:
    """Make what is written safe, every few seconds."""
    began = time.monotonic()
    for number, now in enumerate(written, 1):
        # In a team, where no clock is the same for all, by count.
        alone = bench.team.size == 1
        if time.monotonic() - began >= CHUNK_SECONDS if alone else number % CHUNK_BATCHES == 0:
            bench.team.wait()
            if bench.team.leads:
                tables.keep(path, table_NVC, now)
            began = time.monotonic()
        yield now


def digest(arch: str, state: State) -> str:
    """What a model is, as a sha256: its architecture and every weight."""
    content = hashlib.sha256(arch.encode())
    for name, tensor in state.items():
        content.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()
