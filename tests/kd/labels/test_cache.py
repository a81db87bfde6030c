"""The cache of label tables: what is in it, and who goes first."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from kd.labels import cache, table
from kd.labels.cache import LabelCacheFull, NoSuchTable, TableBusy, TableState

SHAPE, COLUMNS = (10, 2, 3), ("top", "left", "flip")
FACTS = {
    "teacher": "7e" * 32,
    "teacher_arch": "cnn",
    "dataset": "da" * 32,
    "dataset_name": "mnist5k",
    "plan": {"crop_padding": 2, "flip": False},
    "precision": "torch.float32",
}


def id_of(number: int) -> str:
    return f"{number:032x}"


def write(folder: Path, number: int, *, used_seconds_ago: float = 0) -> Path:
    """A finished table that holds this number."""
    path = folder / f"{id_of(number)}.npy"
    with table.try_to_write(path) as alone:
        assert alone
        table_NVC, kept = table.open_draft(path, SHAPE)
        table_NVC[:] = number
        table.finish(path, table_NVC, kept, FACTS, np.zeros((10, 2, 3), np.int32), COLUMNS)
    age(folder, number, used_seconds_ago)
    return path


def draft(folder: Path, number: int, *, used_seconds_ago: float = 0) -> Path:
    """What a killed writer leaves."""
    path = folder / f"{id_of(number)}.npy"
    with table.try_to_write(path):
        table_NVC, kept = table.open_draft(path, SHAPE)
        table.keep(path, table_NVC, kept, 5)
    (folder / f".{id_of(number)}.count.tmp").write_bytes(b"half")
    age(folder, number, used_seconds_ago)
    return path


def age(folder: Path, number: int, seconds: float) -> None:
    for file in folder.glob(f"*{id_of(number)}*"):
        os.utime(file, (time.time() - seconds,) * 2)


def ids(folder: Path) -> list[int]:
    return [int(entry.id, 16) for entry in cache.entries(folder)]


def used(folder: Path) -> int:
    return sum(entry.bytes for entry in cache.entries(folder))


@pytest.fixture
def one(tmp_path: Path) -> int:
    """The bytes of one table."""
    folder = tmp_path / "one"
    write(folder, 1)
    return used(folder)


def test_a_table_is_listed_with_what_its_manifest_says_and_all_that_it_takes(tmp_path):
    before = time.time()
    write(tmp_path, 7, used_seconds_ago=50)

    entry = cache.entry(tmp_path, id_of(7))

    assert [entry] == cache.entries(tmp_path)
    assert (entry.id, entry.state) == (id_of(7), TableState.COMPLETE)
    assert entry.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert entry.bytes == pytest.approx(cache.table_bytes(SHAPE, len(COLUMNS)), abs=2_000)
    assert before - 51 < entry.used_at.timestamp() < time.time() - 49
    assert entry.manifest is not None
    assert (entry.manifest.teacher_arch, entry.manifest.dataset_name) == ("cnn", "mnist5k")
    assert (entry.manifest.shape, entry.manifest.view_parameters.columns) == (SHAPE, COLUMNS)


def test_what_is_no_table_is_not_listed(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / f"{'A' * 32}.npy").write_bytes(b"")
    (tmp_path / f"{id_of(1)}.npy").symlink_to(tmp_path / "notes.txt")
    (tmp_path / f"{id_of(2)}.lock").write_bytes(b"")

    assert cache.entries(tmp_path) == []
    assert cache.entries(tmp_path / "nowhere") == []
    for number in (1, 2, 3):
        with pytest.raises(NoSuchTable):
            cache.entry(tmp_path, id_of(number))
        with pytest.raises(NoSuchTable):
            cache.remove(tmp_path, id_of(number))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"shape": 3}', "\x00", '{"shape": [1, 2, 3], "teacher": 3}'])
def test_a_table_without_a_manifest_of_ours_is_an_abandoned_draft(tmp_path, content):
    write(tmp_path, 1).with_suffix(".json").write_text(content)

    [entry] = cache.entries(tmp_path)

    assert (entry.state, entry.manifest) == (TableState.ABANDONED, None)


def test_a_draft_is_being_written_while_its_lock_is_held_and_abandoned_after(tmp_path):
    path = draft(tmp_path, 1)

    with table.try_to_write(path):
        assert cache.entry(tmp_path, id_of(1)).state is TableState.BEING_WRITTEN
    assert cache.entry(tmp_path, id_of(1)).state is TableState.ABANDONED


def test_the_table_used_last_comes_first_and_reading_is_a_use(tmp_path):
    for number, seconds in ((1, 300), (2, 100), (3, 200)):
        write(tmp_path, number, used_seconds_ago=seconds)
    assert ids(tmp_path) == [2, 3, 1]

    assert table.read(tmp_path / f"{id_of(1)}.npy") is not None

    assert ids(tmp_path) == [1, 2, 3]
    cache.touch(tmp_path / f"{id_of(4)}.npy")  # gone: nothing to remember


def test_room_is_made_by_evicting_what_was_used_least_lately_and_no_more_than_needed(tmp_path, one):
    folder = tmp_path / "labels"
    for number, seconds in ((1, 300), (2, 100), (3, 200)):
        write(folder, number, used_seconds_ago=seconds)

    assert cache.make_room(folder, id_of(4), one, limit_bytes=4 * one) == []
    evicted = cache.make_room(folder, id_of(4), one, limit_bytes=3 * one)
    more = cache.make_room(folder, id_of(4), 2 * one, limit_bytes=3 * one)

    assert [int(entry.id, 16) for entry in evicted + more] == [1, 3]
    assert ids(folder) == [2]
    assert {file.name[:32] for file in folder.iterdir()} == {id_of(2)}, "nothing is left of an evicted table"


def test_a_table_makes_no_room_by_evicting_itself_and_its_draft_is_not_counted_twice(tmp_path, one):
    folder = tmp_path / "labels"
    draft(folder, 1, used_seconds_ago=10_000)
    write(folder, 2)

    assert cache.make_room(folder, id_of(1), one, limit_bytes=2 * one) == []
    assert [int(entry.id, 16) for entry in cache.make_room(folder, id_of(1), one, limit_bytes=one)] == [2]
    assert ids(folder) == [1]


def test_what_is_being_written_is_never_evicted_and_a_young_draft_may_be_gone_on_with(tmp_path, one):
    folder = tmp_path / "labels"
    path = draft(folder, 1, used_seconds_ago=10_000)
    draft(folder, 2, used_seconds_ago=60)
    held = write(folder, 3, used_seconds_ago=10_000)

    with table.try_to_write(path), table.try_to_write(held):
        assert cache.make_room(folder, id_of(9), one, limit_bytes=one) == []
    evicted = cache.make_room(folder, id_of(9), one, limit_bytes=one)

    assert {int(entry.id, 16) for entry in evicted} == {1, 3}
    assert ids(folder) == [2]


def test_a_table_that_can_never_fit_is_refused_before_anything_is_evicted(tmp_path, one):
    folder = tmp_path / "labels"
    write(folder, 1)

    with pytest.raises(LabelCacheFull, match=r"1,234,567 bytes.*STILLHOUSE_LABEL_CACHE_BYTES"):
        cache.make_room(folder, id_of(2), 1_234_567, limit_bytes=1_000_000)

    assert ids(folder) == [1]


@pytest.mark.parametrize("limit_bytes", [None, 0])
def test_without_a_limit_nothing_is_evicted(tmp_path, limit_bytes):
    write(tmp_path, 1)

    cache.check_size(tmp_path, 10**18, limit_bytes)
    assert cache.make_room(tmp_path, id_of(2), 10**18, limit_bytes) == []
    assert ids(tmp_path) == [1]


def test_drafts_that_nobody_goes_on_with_are_collected_and_tables_stay(tmp_path):
    draft(tmp_path, 1, used_seconds_ago=500)
    draft(tmp_path, 2, used_seconds_ago=50)
    held = draft(tmp_path, 3, used_seconds_ago=500)
    write(tmp_path, 4, used_seconds_ago=500)
    damaged = write(tmp_path, 5, used_seconds_ago=500).with_suffix(".json")
    damaged.write_text("")
    age(tmp_path, 5, 500)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / f"{id_of(6)}.npy").symlink_to(tmp_path / "notes.txt")
    before = used(tmp_path)

    with table.try_to_write(held):
        gone = cache.collect(tmp_path, older_than_seconds=100)

    assert {name.lstrip(".")[:32] for name in gone} == {id_of(1)}
    assert used(tmp_path) == before - sum(gone.values())
    assert sorted(ids(tmp_path)) == [2, 3, 4, 5]
    assert not list(tmp_path.glob(f"*{id_of(1)}*")), "nor is its lock left"
    assert (tmp_path / f"{id_of(6)}.npy").read_text() == "mine"
    assert {name.lstrip(".")[:32] for name in cache.collect(tmp_path, older_than_seconds=100)} == {id_of(3)}
    assert cache.collect(tmp_path / "nowhere", older_than_seconds=0) == {}


def test_what_a_killed_writer_left_beside_a_finished_table_is_collected(tmp_path):
    path = write(tmp_path, 1)
    for stray in (f".{id_of(1)}.json.x1", f"{id_of(1)}.count"):
        (tmp_path / stray).write_bytes(b"half")
    (tmp_path / f"{id_of(2)}.lock").write_bytes(b"")
    assert cache.collect(tmp_path, older_than_seconds=100) == {}
    age(tmp_path, 1, 500)
    age(tmp_path, 2, 500)

    gone = cache.collect(tmp_path, older_than_seconds=100)

    assert gone == {f".{id_of(1)}.json.x1": 4, f"{id_of(1)}.count": 4, f"{id_of(2)}.lock": 0}
    assert table.read(path) is not None


def test_whoever_reads_a_table_keeps_it_when_it_is_deleted(tmp_path):
    path = write(tmp_path, 5)
    table_NVC = table.read(path)

    cache.remove(tmp_path, id_of(5))

    assert list(tmp_path.iterdir()) == []
    assert table_NVC is not None
    assert (table_NVC == 5).all()
    assert table.read(path) is None


def test_a_table_that_is_being_written_cannot_be_deleted(tmp_path):
    path = draft(tmp_path, 1)

    with table.try_to_write(path), pytest.raises(TableBusy):
        cache.remove(tmp_path, id_of(1))
    assert table.open_draft(path, SHAPE)[1].count == 5
    cache.remove(tmp_path, id_of(1))

    assert list(tmp_path.iterdir()) == []
