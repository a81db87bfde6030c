"""What a teacher says of every view of every image: labelled once, shared by all runs with this teacher and data."""

import hashlib
import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd import liveness
from kd.errors import LabelsHeld
from kd.evaluation.predict import batch_size
from kd.events import Event, LabelsKept, Noted, PhaseStarted, Step, Waiting
from kd.labels import cache, table
from kd.labels.label import Label, check_numbers
from kd.labels.manifest import Identity
from kd.labels.table import Kept, Table
from kd.models.catalog import has_pooled
from kd.models.weights import State
from kd.training.batches import in_blocks
from kd.training.logbook import Logbook
from kd.training.run import Run
from kd.views.plan import columns
from kd.views.viewer import Viewer

# A kill loses at most this much labelling.
CHUNK_SECONDS = 2.0
CHUNK_BATCHES = 64
# How often a run that waits for another one's labels looks for them.
WAIT_SECONDS = 0.2
# A run that writes labels keeps some every two seconds; one that has kept none for so long does not come on. To read a
# finished table, or to make the digest of a large one, takes minutes.
HELD_SECONDS = 1_200.0

# Shapes: N = images, V = views of each, R = N·V rows, C = numbers of a label, B = batch, P = a view's parameters.


def obtain_table(
    run: Run, log: Logbook, teacher: nn.Module, weights: State, views: int
) -> Generator[Event, None, Tensor]:
    """The table of this teacher's labels: fp16 [N, V, C] on the device; read if it exists, else written.

    `teacher` is ready to label, `weights` are its own. `views` counts per image (of a pair both) and is at most
    `run.plan.count`. The table's name is the digest of everything it depends on, so a table that is there is the right
    one; so is one that holds the teacher's feature as well. While another run writes it, this one waits, and goes on
    with it if the other one dies.
    """
    count = len(run.train)
    log.enter("labelling")
    identity = Identity(
        teacher=digest(run.teacher_arch, weights),
        dataset=run.dataset.digest,
        plan=run.plan.facts(),
        views=views,
        precision=str(run.autocast_dtype or torch.float32),
        pooled=run.pooled,
    )
    # Processes of a team may have computed weights that differ in their last bit: they must not write two tables.
    identity = run.team.agree_on(find_wider(run, identity) or identity)
    path, shape = run.labels / f"{identity.name}.npy", (count, views, len(run.dataset.classes) + identity.pooled)
    yield PhaseStarted(phase="labelling", facts={"images": count, "views": views, "bytes": 2 * math.prod(shape)})

    # Only the leader looks for the table and holds its lock; the others learn from it where to start, and map its file.
    with ExitStack() as lock:
        table_NVC, kept = None, None
        if run.team.leads:
            table_NVC, kept = yield from secure_table(run, path, shape, lock)
        start = run.team.agree_on(None if kept is None else kept.count)
        if start is None and table_NVC is None:
            table_NVC = table.read(path)
            assert table_NVC is not None, "the leader has read it, and nobody else may touch it"
        elif start is not None:
            if table_NVC is None:
                table_NVC = table.join_draft(path)
            says = Label(teacher, pooled=identity.pooled > 0)
            written = label_views(run, log, says, range(views), torch.from_numpy(table_NVC), start=start)
            saved = with_saves(run, log, path, table_NVC, kept, written)
            yield from with_steps(log, saved, start=start, planned=count * views)
            # The leader closes the table only when everybody's share is in it.
            run.team.wait()
            if kept is not None:
                # Before the table has its name: once it has, every run with this teacher believes it.
                check_numbers(run, table_NVC)
                facts = identity.model_dump()
                facts |= {"teacher_arch": run.teacher_arch, "dataset_name": run.config.dataset}
                table.finish(path, table_NVC, kept, facts, view_parameters(run, views), columns_of(run))
        run.team.wait()
    assert table_NVC is not None
    # A run that does not compare features has no use for them on its device.
    return place(torch.from_numpy(table_NVC)[..., : len(run.dataset.classes) + run.pooled], run.device)


def find_wider(run: Run, identity: Identity) -> Identity | None:
    """The identity of a table that has the pooled feature beside these very labels, if there is one and they alone are
    not there."""
    if (
        identity.pooled
        or not has_pooled(run.teacher_arch)
        or (run.labels / f"{identity.name}{cache.MANIFEST}").exists()
    ):
        return None
    wider = identity.model_copy(update={"pooled": run.measure(run.teacher_arch, pooled=True).pooled})
    return wider if (run.labels / f"{wider.name}{cache.MANIFEST}").exists() else None


def check_size(run: Run, views: int) -> None:
    """Raise `LabelCacheFull` when the cache can never hold a run's table."""
    shape = (len(run.train), views, len(run.dataset.classes) + run.pooled)
    cache.check_size(cache.table_bytes(shape, len(columns_of(run))), run.label_cache_bytes)


def secure_table(
    run: Run, path: Path, shape: tuple[int, int, int], lock: ExitStack
) -> Generator[Event, None, tuple[Table, Kept | None]]:
    """The table and None if there is one; else, once nobody else writes it, its draft and what of it is safe."""
    waited, count, moved_at = False, -1, time.monotonic()
    while True:
        alone = lock.enter_context(table.try_to_write(path))
        table_NVC = table.read(path)
        # In a team others read it after us, so it must not go meanwhile.
        if table_NVC is not None and (alone or run.team.size == 1):
            message = f"These labels exist already (table {path.stem}); the teacher stays idle."
            yield Noted(code="labels_reused", message=message)
            return table_NVC, None
        if alone:
            needed = cache.table_bytes(shape, len(columns_of(run)))
            evicted = cache.make_room(path.parent, path.stem, needed, run.label_cache_bytes)
            if evicted:
                names = ", ".join(entry.id for entry in evicted)
                yield Noted(code="labels_evicted", message=f"To make room, label tables used long ago went: {names}.")
            return table.open_draft(path, shape)
        lock.close()
        if not waited:
            waited = True
            yield Noted(code="labels_awaited", message=f"Another run is writing these labels (table {path.stem}).")
        # Without a lock in hand, so that the other run's death is noticed at the next round; said, so that nobody takes
        # this run for one that hangs.
        time.sleep(WAIT_SECONDS)
        before, count = count, table.count_of(path)
        if count != before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > HELD_SECONDS:
            raise LabelsHeld(path.stem, HELD_SECONDS)
        yield Waiting(count=count)


def columns_of(run: Run) -> tuple[str, ...]:
    """What is written down of each view of a table: of which image of the data set it is, and what was done to it."""
    return ("image", *columns(run.plan))


def view_parameters(run: Run, views: int) -> NDArray[np.int32]:
    """What each view of the table shows, as `columns_of` names it: int32 [N, V, P]."""
    viewer, image_N, number_N = run.train.viewer, torch.arange(len(run.train)), run.dataset.train.numbers
    assert number_N is not None, "every data set that is loaded has them"
    # Written down although they could be computed: whoever reads the table elsewhere need not have this code.
    parameters_NVP = np.empty((len(image_N), views, len(columns_of(run))), np.int32)
    parameters_NVP[:, :, 0] = number_N[:, None].numpy()
    for view in range(views):
        parameters_NVP[:, view, 1:] = viewer.parameters(image_N, torch.full_like(image_N, view)).cpu().numpy()
        liveness.advance()
    return parameters_NVP


def place(table_NVC: Tensor, device: torch.device) -> Tensor:
    """The table where it will be read: on the device, unless it would fill more than half of what is free there."""
    if device.type == "cuda" and table_NVC.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
        return table_NVC
    return table_NVC.to(device)


def label_views(
    run: Run, log: Logbook, teacher: nn.Module, views: range, table_NVC: Tensor, *, start: int = 0
) -> Iterator[int]:
    """Fill a table with what the teacher says of these view numbers of every training image, image after image.

    Goes on after the first `start` labels; yields after every batch how many are written. In a team every process
    fills in its share of the batches.
    """
    team, viewer, V = run.team, run.train.viewer, len(views)
    # In the order in which they lie in the file, so that the disk gets every page once.
    table_RC = table_NVC.view(-1, table_NVC.shape[2])
    size = batch_size(viewer.device, viewer.shape)
    firsts = range(start // size * size, len(table_RC), size)

    def rows_of(first: int) -> Tensor:
        return torch.arange(first, min(first + size, len(table_RC)))

    # Batch by batch in turn, and not in halves: so the labels that are safe are always the first ones of the table.
    ours = firsts[team.rank :: team.size]
    shown = _show_rows(viewer, [rows_of(first) for first in ours], V, views.start)
    for turn in range(math.ceil(len(firsts) / team.size)):
        if turn < len(ours):
            row_B, pixels_BCHW = next(shown)
            # The very forward of every run with this precision: half of the batches of a resumed table may be from it.
            with torch.inference_mode(), run.autocast():
                table_RC[row_B[0] : row_B[-1] + 1] = teacher(pixels_BCHW).to(table_RC)
            liveness.advance()
        # Everybody's step, also where only some had a batch left: a team must count alike.
        log.position.step += 1
        yield min(firsts[min((turn + 1) * team.size, len(firsts)) - 1] + size, len(table_RC))


def _show_rows(viewer: Viewer, batches: list[Tensor], V: int, first_view: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of a table's rows, and the views they are of: cut for many batches at once, see `kd.training.batches`."""
    blocks = list(in_blocks(batches, viewer))
    viewer.pixels.expect(torch.cat(block) // V for block in blocks)
    for block in blocks:
        row_K = torch.cat(block)
        pixels_KCHW = viewer.show(row_K // V, row_K % V + first_view)
        start = 0
        for row_B in block:
            yield row_B, pixels_KCHW[start : start + len(row_B)]
            start += len(row_B)


def with_steps(
    log: Logbook, written: Iterator[int | LabelsKept], *, start: int = 0, before: int = 0, planned: int
) -> Iterator[Step | LabelsKept]:
    """Say how labelling goes. Of the run's `planned` labels, `before` belong to earlier tables."""
    log.begin_counting()
    # What an attempt finds done is no speed of this one: counting begins at `start`.
    reported, now = start, start
    for news in written:
        if isinstance(news, LabelsKept):
            yield news
            continue
        now = news
        if log.is_time_to_report or log.is_asked_to_save:
            yield log.step("labelling", (before + now) / planned, now - reported, {})
            log.begin_counting()
            reported = now
    if now > reported:
        yield log.step("labelling", (before + now) / planned, now - reported, {})


def with_saves(
    run: Run, log: Logbook, path: Path, table_NVC: Table, kept: Kept | None, written: Iterator[int]
) -> Iterator[int | LabelsKept]:
    """Make what is written safe, every few seconds, and say so. Of a team its leader does, who has `kept`."""
    began = time.monotonic()
    for number, now in enumerate(written, 1):
        # In a team, where no clock is the same for all, by count.
        alone = run.team.size == 1
        due = time.monotonic() - began >= CHUNK_SECONDS or log.is_asked_to_save
        if due if alone else number % CHUNK_BATCHES == 0:
            # A count may only name labels that are in the file, also those of the others.
            run.team.wait()
            if kept is not None:
                table.keep(path, table_NVC, kept, now)
                images, views, _ = table_NVC.shape
                log.progress.done("labelling", now / (images * views))
                yield LabelsKept(count=now, fraction=log.progress.fraction)
            began = time.monotonic()
        yield now


def digest(arch: str, state: State) -> str:
    """What a model is, as a sha256: its architecture and every weight."""
    # By value, not by file: the teacher of another job, or trained a second time to the same weights, is the same one.
    content = hashlib.sha256(arch.encode())
    for name, tensor in state.items():
        content.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()
