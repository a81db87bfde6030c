"""What a trainer prints stays within bounds, and counts as what its job takes of the disk."""

import pytest

from jobs.files import layout
from jobs.states import State
from tests.support.databases import ON_ONE_DATABASE
from tests.support.waiting import wait_until
from worker import trainer_log
from worker.trainer_log import BEGINNING_BYTES, END_BYTES, MOST_BYTES, TrainerLog


@pytest.fixture
def log(tmp_path) -> TrainerLog:
    return TrainerLog(tmp_path)


def test_a_log_that_becomes_too_long_keeps_its_beginning_its_end_and_whoever_writes_to_it(log):
    with open(log.path, "ab", buffering=0) as trainer:
        trainer.write(b"the first warning\n")
        number = MOST_BYTES // 16
        trainer.write(b"".join(b"step %010d\n" % step for step in range(number + 1)))
        before = log.path.read_bytes()
        size = log.bound()
        trainer.write(b"its last words\n")

    after = log.path.read_bytes()
    beginning, _, end = after.partition(b"\n[ ")
    cut, _, end = end.partition(b" bytes were cut out here: a log keeps its beginning and its end ]\n")
    assert (size, size + 15) == (len(after) - 15, len(after))
    assert beginning == before[:BEGINNING_BYTES]
    assert before.endswith(end.removesuffix(b"its last words\n"))
    assert END_BYTES - 16 <= len(end) - 15 <= END_BYTES, "whole lines"
    assert len(beginning) + int(cut) + len(end) - 15 == len(before)
    assert log.last_words.endswith(f"step {number:010}\nits last words\n")


def test_a_log_is_left_alone_as_long_as_it_is_short_and_where_there_is_none(log):
    assert (log.bound(), log.last_words) == (0, "")
    log.path.write_bytes(content := b"x" * MOST_BYTES)

    assert log.bound() == MOST_BYTES
    assert log.path.read_bytes() == content


@ON_ONE_DATABASE
def test_the_log_of_a_trainer_is_cut_while_it_runs_and_what_is_left_of_it_counts(
    worker, submit, wait_for, long, settings, monkeypatch
):
    monkeypatch.setattr(trainer_log, "MOST_BYTES", 10_000)
    monkeypatch.setattr(trainer_log, "BEGINNING_BYTES", 1_000)
    monkeypatch.setattr(trainer_log, "END_BYTES", 1_000)
    job_id = submit(long())
    wait_for(job_id, lambda job: job.phase is not None)
    log = TrainerLog(layout.attempt_folder(settings.data_dir, job_id, 1))

    with open(log.path, "ab") as started_by_the_trainer:
        started_by_the_trainer.write(b"a line\n" * 10_000)
    wait_until(lambda: log.size < 10_000)
    left = wait_for(job_id, lambda job: 0 < job.log_bytes < 10_000).log_bytes
    worker.stopping.set()
    set_down = wait_for(job_id, lambda job: job.state is State.QUEUED)

    assert left <= set_down.log_bytes == log.size
