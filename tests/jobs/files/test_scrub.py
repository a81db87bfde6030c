"""Files at rest are read now and then, and those that are not what was written are named."""

import threading

import pytest

from jobs.files import layout, scrub
from tests.jobs.files.leaving import checkpoint, publish


@pytest.fixture
def files(db, data, add, claim, write, NOON):
    """Three files of a job, complete."""
    job_id = add(keep_last=3)
    held = claim()
    written = [write(job_id, 1, checkpoint(step, "student.safetensors")) for step in (10, 20, 30)]
    for step, path in zip((10, 20, 30), written, strict=True):
        publish(db, data, held, step, path)
    return written


def test_a_file_of_which_a_bit_has_flipped_is_named_and_left(db, data, files):
    assert scrub.scrub(db, data) == scrub.Scrubbed(3, sum(path.stat().st_size for path in files), ())
    content = files[-1].read_bytes()
    files[-1].write_bytes(bytes([content[0] ^ 1, *content[1:]]))

    found = scrub.scrub(db, data)

    assert found.damaged == (files[-1].relative_to(data).as_posix(),)
    assert files[-1].exists()


def test_rounds_go_on_where_the_last_one_ended_and_begin_anew(db, data, files, monkeypatch):
    monkeypatch.setattr(scrub, "ROUND_BYTES", 1)

    read = [scrub.scrub(db, data).files for _ in range(2 * len(files) + 2)]

    assert read == ([1] * len(files) + [0]) * 2


def test_what_is_gone_is_no_damage_and_who_is_to_stop_stops(db, data, files):
    over = threading.Event()
    over.set()
    assert scrub.scrub(db, data, stop=over).files == 0
    assert not (data / layout.SCRUBBED).exists()

    files[0].unlink()
    assert scrub.scrub(db, data).damaged == ()
