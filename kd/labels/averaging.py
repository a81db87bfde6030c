"""What a committee of teachers says of every view: the mean of what its members' tables say, as a table of its own."""

import hashlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping

import torch
from torch import Tensor

from kd import liveness
from kd.evaluation.mean import mean_logits
from kd.events import Event, PhaseStarted
from kd.labels import labelling, table
from kd.labels.progress import Share
from kd.labels.table import Table
from kd.training.logbook import Logbook
from kd.training.run import Run

# How many labels are averaged at a time: a few megabytes of each member.
ROWS = 1 << 14

# Shapes: N = images, V = views of each, R = N·V rows, C = classes, M = members.


def obtain_mean_table(
    run: Run, log: Logbook, members: Mapping[str, Callable[[Share], Generator[Event, None, Table]]], views: int
) -> Generator[Event, None, Table]:
    """The table of a committee's labels: fp16 [N, V, C], mapped; read if it exists, else averaged.

    `members` are the members' digests, each with what obtains its table. These are written one after the other, cached
    and shared each by itself, and not needed again once the mean is there.
    """
    # In an order of their own, so that the same teachers are the same committee in whatever order they are named.
    digests = sorted(run.team.agree_on(list(members)))
    name = hashlib.sha256("/".join(["committee", *digests]).encode()).hexdigest()
    identity = labelling.identify(run, name, views)
    path = run.labels / f"{identity.name}.npy"
    # Of a team all must read the same one, which may be gone before all do: there the members' tables are asked for.
    if run.team.size == 1 and (ready := table.read(path)) is not None:
        log.enter("labelling")
        yield PhaseStarted(phase="labelling", facts={"images": len(run.train), "views": views, "bytes": ready.nbytes})
        yield labelling.reused(path)
        return ready
    said = []
    for number, digest in enumerate(digests):
        said.append((yield from members[digest](Share(number, len(digests) + 1))))

    def average(table_NVC: Tensor, start: int) -> Iterator[int]:
        return average_rows(run, log, said, table_NVC, start=start)

    return (yield from labelling.secure_labels(run, log, identity, average, Share(len(digests), len(digests) + 1)))


def average_rows(run: Run, log: Logbook, said: list[Table], table_NVC: Tensor, *, start: int) -> Iterator[int]:
    """Fill a committee's table with the mean of its members', after `start` labels; yields how many are there.

    In a team every process fills in its share of the blocks, in turn: those that are there are always the first ones.
    """
    team, classes = run.team, table_NVC.shape[2]
    table_RC = table_NVC.view(-1, classes)
    said_RC = [torch.from_numpy(one).view(-1, classes) for one in said]
    firsts = range(start, len(table_RC), ROWS)
    ours = firsts[team.rank :: team.size]
    for turn in range(math.ceil(len(firsts) / team.size)):
        if turn < len(ours):
            block = slice(ours[turn], ours[turn] + ROWS)
            table_RC[block] = mean_logits([one_RC[block] for one_RC in said_RC]).to(table_RC)
            liveness.advance()
        log.position.step += 1
        yield min(firsts[min((turn + 1) * team.size, len(firsts)) - 1] + ROWS, len(table_RC))
