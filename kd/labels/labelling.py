"""What a teacher says of every view of every image: labelled once, shared by all runs with this teacher and data."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd import liveness
from kd.errors import LabelsHeld, SpecUnfit
from kd.evaluation.predict import batch_size
from kd.events import Event, Noted, PhaseStarted, Waiting
from kd.labels import cache, table
from kd.labels.label import Label, check_numbers
from kd.labels.manifest import Identity
from kd.labels.progress import WHOLE, Share, with_saves, with_steps
from kd.labels.table import Kept, Table
from kd.models.catalog import has_pooled
from kd.models.weights import State, digest_of
from kd.training.batches import in_blocks
from kd.training.logbook import Logbook
from kd.training.run import Run
from kd.views.plan import columns
from kd.views.viewer import Viewer

# How often a run that waits for another one's labels looks for them.
WAIT_SECONDS = 0.2
# A run that writes labels keeps some every two seconds; one that has kept none for so long does not come on. To read a
# finished table, or to make the digest of a large one, takes minutes.
HELD_SECONDS = 1_200.0

# Shapes: N = images, V = views of each, R = N·V rows, C = numbers of a label, B = batch, P = a view's parameters.


def obtain_table(
    run: Run, log: Logbook, teacher: nn.Module, weights: State, views: int, *, part: Share = WHOLE
) -> Generator[Event, None, Table]:
    """The table of this teacher's labels: fp16 [N, V, C], mapped; read if it exists, else written.

    `teacher` is ready to label, `weights` are its own. `views` counts per image (of a pair both) and is at most
    `run.plan.count`. A table that holds the teacher's feature as well has the same labels, and is as good.
    """

    def label(table_NVC: Tensor, start: int) -> Iterator[int]:
        says = Label(teacher, pooled=table_NVC.shape[2] > len(run.dataset.classes))
        return label_views(run, log, says, range(views), table_NVC, start=start)

    identity = identify(run, digest_of(run.teacher_arch, weights), views)
    return (yield from secure_labels(run, log, find_wider(run, identity) or identity, label, part))


def identify(run: Run, teacher: str, views: int) -> Identity:
    """What a table of the labels of the teacher with this digest depends on."""
    return Identity(
        teacher=teacher,
        dataset=run.dataset.digest,
        plan=run.plan.facts(),
        views=views,
        precision=str(run.autocast_dtype or torch.float32),
        pooled=run.pooled,
    )


def secure_labels(
    run: Run, log: Logbook, identity: Identity, label: Callable[[Tensor, int], Iterator[int]], part: Share = WHOLE
) -> Generator[Event, None, Table]:
    """The table with this identity. If there is none, `label` writes it: given the table and how many of its labels are
    there, it goes on from those, and yields again and again how many there are.

    The table's name is the digest of everything it depends on, so a table that is there is the right one. While another
    run writes it, this one waits, and goes on with it if the other one dies.
    """
    views, count, classes = identity.views, len(run.train), len(run.dataset.classes)
    assert views is not None, "tables of this version say how many"
    log.enter("labelling")
    # Processes of a team may have computed weights that differ in their last bit: they must not write two tables.
    identity = run.team.agree_on(identity)
    path, shape = run.labels / f"{identity.name}.npy", (count, views, classes + identity.pooled)
    facts = {"images": count, "views": views, "bytes": 2 * math.prod(shape)}
    if part.tables > 1:
        facts |= {"table": part.number + 1, "tables": part.tables}
    yield PhaseStarted(phase="labelling", facts=facts)

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
            written = label(torch.from_numpy(table_NVC), start)
            saved = with_saves(run, log, path, table_NVC, kept, written, part)
            planned = count * views
            yield from with_steps(log, saved, start=start, before=part.number * planned, planned=part.tables * planned)
            # The leader closes the table only when everybody's share is in it.
            run.team.wait()
            if kept is not None:
                # Before the table has its name: once it has, every run with this teacher believes it.
                check_numbers(run, table_NVC)
                said = identity.model_dump()
                said |= {"teacher_arch": run.teacher_arch, "dataset_name": run.config.dataset}
                table.finish(path, table_NVC, kept, said, view_parameters(run, views), columns_of(run))
        run.team.wait()
    assert table_NVC is not None
    # A run that does not compare features has no use for them.
    return table_NVC[..., : classes + run.pooled]


def find_wider(run: Run, identity: Identity) -> Identity | None:
    """The identity of a table that has the pooled feature beside these very labels, if there is one and they alone are
    not there."""
    if (
        identity.pooled
        or not has_pooled(run.teacher_arch)
        or (run.labels / f"{identity.name}{cache.MANIFEST}").exists()
    ):
        return None
    try:
        pooled = run.measure_teacher(pooled=True).pooled
    except SpecUnfit:  # it has none, which of some only who builds them knows
        return None
    wider = identity.model_copy(update={"pooled": pooled})
    return wider if (run.labels / f"{wider.name}{cache.MANIFEST}").exists() else None


def check_size(run: Run, views: int) -> None:
    """Raise `LabelCacheFull` when the cache can never hold a run's table."""
    shape = (len(run.train), views, len(run.dataset.classes) + run.pooled)
    cache.check_size(run.labels, cache.table_bytes(shape, len(columns_of(run))), run.label_cache_bytes)


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
            yield reused(path)
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


def reused(path: Path) -> Noted:
    message = f"These labels exist already (table {path.stem}); the teacher stays idle."
    return Noted(code="labels_reused", message=message)


def columns_of(run: Run) -> tuple[str, ...]:
    """What is written down of each view of a table: of which image of the data set it is, and what was done to it."""
    return ("image", *columns(run.plan))


def view_parameters(run: Run, views: int) -> NDArray[np.int32]:
    """What each view of the table shows, as `columns_of` names it: int32 [N, V, P]."""
    viewer, image_N, number_N = run.train.viewer, torch.arange(len(run.train)), run.dataset.train.numbers
    # Written down although they could be computed: whoever reads the table elsewhere need not have this code.
    parameters_NVP = np.empty((len(image_N), views, len(columns_of(run))), np.int32)
    parameters_NVP[:, :, 0] = number_N[:, None].numpy()
    for view in range(views):
        parameters_NVP[:, view, 1:] = viewer.parameters(image_N, torch.full_like(image_N, view)).cpu().numpy()
        liveness.advance()
    return parameters_NVP


def place(table: Table, device: torch.device) -> Tensor:
    """The table where it will be read: on the device, unless it would fill more than half of what is free there."""
    table_NVC = torch.from_numpy(table)
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
