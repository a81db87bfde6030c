"""Pruning: a member that is worse than most others were at the same epoch makes room for the next one.

The median rule (Golovin et al., 2017): its best validation accuracy so far against the median of what the others had
reached by then. It is judged once an epoch, from the curves that are written down.
"""

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from jobs import endings
from jobs.database.engine import Sessions
from jobs.endings import Ending
from jobs.queue import requests
from jobs.states import State
from jobs.sweeps.plan import Plan, Pruning
from jobs.sweeps.standings import METRIC
from jobs.tables import Job, Member, MetricPoint, Sweep


@dataclass(frozen=True)
class Judgement:
    """Of a member at an epoch. `ending` is why it is to end."""

    job_id: str
    epoch: int
    ending: Ending | None


def prune(db: Sessions, sweep_id: str) -> list[str]:
    """Judge the members that train their students and have come further since. Returns the ids of those it ends."""
    with db.read() as session:
        sweep = session.execute(select(Sweep).where(Sweep.id == sweep_id)).scalar_one_or_none()
        rule = None if sweep is None else Plan.model_validate(sweep.plan).pruning
        judgements = [] if rule is None else _judge_all(session, sweep_id, rule)
    ended = []
    for judgement in judgements:
        with db.begin() as session:
            if _is_first(session, sweep_id, judgement) and judgement.ending is not None:
                requests.cancel(session, judgement.job_id, ending=judgement.ending)
                ended.append(judgement.job_id)
    return ended


def _judge_all(session: Session, sweep_id: str, rule: Pruning) -> list[Judgement]:
    learning = session.execute(
        select(Job.id, Member.judged_epoch)
        .join(Job, Job.id == Member.job_id)
        .where(Member.sweep_id == sweep_id)
        .where(Job.state == State.RUNNING, Job.phase == "student", Job.cancel_requested_at.is_(None))
    ).all()
    found = []
    for job_id, judged_epoch in learning:
        epoch = session.execute(
            select(func.count()).where(MetricPoint.job_id == job_id, MetricPoint.name == METRIC)
        ).scalar_one()
        if epoch > max(judged_epoch, rule.warmup_epochs):
            found.append(Judgement(job_id, epoch, judge(session, sweep_id, job_id, epoch, rule)))
    return found


def judge(session: Session, sweep_id: str, job_id: str, epoch: int, rule: Pruning) -> Ending | None:
    """Why the member is to end at this epoch; None if it may go on."""
    reached = _best_by(session, sweep_id, epoch)
    mine = reached.pop(job_id, None)
    if mine is None or len(reached) < rule.min_others:
        return None
    median = statistics.median(reached.values())
    return endings.pruned(epoch, mine, median) if mine < median else None


def _best_by(session: Session, sweep_id: str, epoch: int) -> dict[str, float]:
    """Of each member that has come so far: its best until then. (A curve has a point an epoch.)"""
    epochs = func.row_number().over(partition_by=MetricPoint.job_id, order_by=MetricPoint.step).label("epoch")
    curves = (
        select(MetricPoint.job_id, MetricPoint.value, epochs)
        .join(Member, Member.job_id == MetricPoint.job_id)
        .where(Member.sweep_id == sweep_id, MetricPoint.name == METRIC)
        .subquery()
    )
    values = defaultdict(list)
    for job_id, value in session.execute(select(curves.c.job_id, curves.c.value).where(curves.c.epoch <= epoch)):
        values[job_id].append(-math.inf if math.isnan(value) else value)
    return {job_id: max(of_job) for job_id, of_job in values.items() if len(of_job) == epoch}


def _is_first(session: Session, sweep_id: str, judgement: Judgement) -> bool:
    """Whether nobody has judged the member at this epoch before; now somebody has."""
    changed = session.execute(
        update(Member)
        .where(Member.sweep_id == sweep_id, Member.job_id == judgement.job_id, Member.judged_epoch < judgement.epoch)
        .values(judged_epoch=judgement.epoch)
        .returning(Member.number)
        .execution_options(synchronize_session=False)
    )
    return changed.one_or_none() is not None
