"""What a teacher says of every view of every image: labelled once, shared by all runs with the same teacher and data."""

import hashlib
import json
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kd import tables
from kd.checkpoint import State
from kd.errors import BadLabels
from kd.events import Event, Noted, PhaseStarted, Step
from kd.tables import Table
from kd.training import autocast
from kd.workbench import Workbench

LABELLING_BATCH = 256
# A kill loses at most this much labelling.
CHUNK_SECONDS = 2.0
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
        "teacher": digest(bench.config.teacher.arch, teacher.state_dict()),
        "dataset": bench.dataset.digest,
        "plan": asdict(bench.plan),
        "views": views,
        "precision": str(bench.autocast or torch.float32),
    }
    name = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32]
    path = bench.labels / f"{name}.npy"
    yield PhaseStarted(phase="labelling", facts={"images": count, "views": views, "bytes": 2 * count * views * classes})

    waited = False
    while True:
        with tables.writing(path) as alone:
            table_NVC = tables.read(path)
            if table_NVC is not None:
                message = f"These labels exist already (table {name}); the teacher stays idle."
                yield Noted(code="labels_reused", message=message)
                break
            if alone:
                table_NVC, safe = tables.open_draft(path, (count, views, classes))
                written = label_views(bench, teacher, range(views), torch.from_numpy(table_NVC), start=safe)
                yield from told(bench, kept(path, table_NVC, written), start=safe, planned=count * views)
                if not np.isfinite(table_NVC).all():
                    raise BadLabels(bench.config.teacher.arch)
                tables.finish(path, table_NVC, depends_on)
                break
        if not waited:
            waited = True
            yield Noted(code="labels_awaited", message=f"Another run is writing these labels (table {name}).")
        time.sleep(WAIT_SECONDS)
    return torch.from_numpy(table_NVC).to(bench.device)


def label_views(
    bench: Workbench, teacher: nn.Module, views: range, table_NVC: Tensor, *, start: int = 0
) -> Iterator[int]:
    """Fill a table with the teacher's logits for these view numbers of every training image, view after view.

    Goes on after the first `start` labels; yields after every batch how many are written.
    """
    count = len(bench.train)
    for column in range(start // count, len(views)):
        for first in range(start % count if column == start // count else 0, count, LABELLING_BATCH):
            image_B = torch.arange(first, min(first + LABELLING_BATCH, count), device=bench.device)
            with torch.inference_mode(), autocast(bench):
                logits_BC = teacher(bench.train.viewer.show(image_B, torch.full_like(image_B, views[column])))
                table_NVC[first : first + len(image_B), column] = logits_BC.to(table_NVC)
            bench.position.step += 1
            yield column * count + first + len(image_B)


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


def kept(path: Path, table_NVC: Table, written: Iterator[int]) -> Iterator[int]:
    """Make what is written safe, every few seconds."""
    began = time.monotonic()
    for now in written:
        if time.monotonic() - began >= CHUNK_SECONDS:
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
