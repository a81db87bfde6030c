"""Label tables: what a teacher says of every view of every image, written once and shared between runs.

A table is one fp16 array [N, V, C] of full logits, memory-mapped, with a manifest beside it. Its name is the
digest of everything it depends on, so a table that is there is the right one.
"""

import hashlib
import json
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd.checkpoint import State, atomic
from kd.errors import BadLabels
from kd.events import Event, Noted, PhaseStarted, Step
from kd.training import autocast
from kd.workbench import Workbench

Table = NDArray[np.float16]

LABELLING_BATCH = 256

# Shapes: N = images, V = views of each, C = classes, B = batch.


def obtain(bench: Workbench, teacher: nn.Module, views: int) -> Generator[Event, None, Tensor]:
    """The table of this teacher's labels: fp16 [N, V, C] on the device; read if it exists, else written.

    `views` counts per image and is at most `bench.plan.count`.
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

    table_NVC = read(path)
    if table_NVC is not None:
        yield Noted(code="labels_reused", message=f"These labels exist already (table {name}); the teacher stays idle.")
    else:
        table_NVC = np.empty((count, views, classes), np.float16)
        yield from label_views(bench, teacher, range(views), torch.from_numpy(table_NVC))
        if not np.isfinite(table_NVC).all():
            raise BadLabels(bench.config.teacher.arch)
        write(path, table_NVC, depends_on)
        # Mapped rather than held, unless another writer is replacing it by its own at this moment.
        written_NVC = read(path)
        table_NVC = table_NVC if written_NVC is None else written_NVC
    return torch.from_numpy(table_NVC).to(bench.device)


def label_views(
    bench: Workbench,
    teacher: nn.Module,
    views: range,
    table_NVC: Tensor,
    *,
    before: int = 0,
    planned: int | None = None,
) -> Iterator[Step]:
    """Fill a table with the teacher's logits for these view numbers of every training image.

    Of the `planned` labels of the run (default: this table's), `before` were written earlier.
    """
    count, written, unsaid = len(bench.train), 0, 0
    planned = planned or count * len(views)
    bench.begin_counting()
    for column, view in enumerate(views):
        for start in range(0, count, LABELLING_BATCH):
            image_B = torch.arange(start, min(start + LABELLING_BATCH, count), device=bench.device)
            with torch.inference_mode(), autocast(bench):
                logits_BC = teacher(bench.train.viewer.show(image_B, torch.full_like(image_B, view)))
                table_NVC[start : start + len(image_B), column] = logits_BC.to(table_NVC)
            bench.position.step += 1
            written, unsaid = written + len(image_B), unsaid + len(image_B)
            if bench.time_to_speak() or written == count * len(views):
                yield bench.step("labelling", (before + written) / planned, unsaid, {})
                bench.begin_counting()
                unsaid = 0


def digest(arch: str, state: State) -> str:
    """What a model is, as a sha256: its architecture and every weight."""
    content = hashlib.sha256(arch.encode())
    for name, tensor in state.items():
        content.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def write(path: Path, table_NVC: Table, depends_on: dict[str, object]) -> None:
    """The table first, its manifest last: a table without a manifest was never finished."""
    with atomic(path) as file:
        np.save(file, table_NVC)
    manifest = {**depends_on, "shape": list(table_NVC.shape), "dtype": "float16", "sha256": _sha256(path)}
    with atomic(path.with_suffix(".json")) as file:
        file.write(json.dumps(manifest, indent=2).encode())


def read(path: Path) -> Table | None:
    """The table, mapped into memory; None when it is not there, not finished, or not what its manifest says."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text())
        table_NVC: Table = np.load(path, mmap_mode="c")  # copy on write: torch wants a writable array
        if list(table_NVC.shape) == manifest["shape"] and _sha256(path) == manifest["sha256"]:
            return table_NVC
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, BadZipFile):
        pass  # damaged in one of many ways
    return None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
