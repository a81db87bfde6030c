"""No path leads out of the data folder, whatever a row or a link says."""

import errno
import os
import pathlib
from pathlib import Path

import pytest

from jobs.errors import FileGone, JobNotFound, UnsafePath
from jobs.files import layout, store

JOB = "job_01ARZ3NDEKTSV4RRFFQ69G5FAV"
OTHER = "job_01ARZ3NDEKTSV4RRFFQ69G5FAW"
FILE = f"jobs/{JOB}/attempt-1/student.safetensors"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a student in it, and a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    data = tmp_path / "data"
    folder = layout.attempt_folder(data, JOB, 1)
    folder.mkdir(parents=True)
    (folder / "student.safetensors").write_bytes(b"weights")
    return data


def test_a_file_is_opened_with_its_size(data):
    path, size = store.open_file(data, FILE)

    assert (path, size) == (data / FILE, 7)
    assert path.read_bytes() == b"weights"


def test_the_data_folder_itself_may_be_a_link(data, tmp_path):
    (tmp_path / "link").symlink_to(data)

    assert store.open_file(tmp_path / "link", FILE)[1] == 7


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "jobs/../../secret",
        f"jobs/{JOB}/attempt-1/../../../../secret",
        "/etc/passwd",
        "//etc/passwd",
        "",
        ".",
        "..",
        "jobs//x",
        "jobs/./x",
        "jobs/",
        ".hidden",
        "a\x00b",
        "a\nb",
        "a\\b",
        "~/x",
        "половина",
    ],
)
def test_a_path_that_is_not_plain_is_refused(data, path):
    for reach in (store.open_file, lambda folder, path: store.delete(folder, [path])):
        with pytest.raises(UnsafePath):
            reach(data, path)


def test_a_link_to_a_file_is_refused(data, tmp_path):
    link = data / FILE
    link.unlink()
    link.symlink_to(tmp_path / "secret")

    with pytest.raises(FileGone):
        store.open_file(data, FILE)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_link_to_a_folder_is_refused_anywhere_on_the_way(data, tmp_path, depth):
    folder = (data / FILE).parents[depth - 1]
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert (data / FILE).read_bytes() == b"weights"

    with pytest.raises(FileGone):
        store.open_file(data, FILE)
    store.delete(data, [FILE])

    assert (data / FILE).exists()


@pytest.mark.parametrize("what", ["nothing", "folder", "pipe", "file as folder", "no data folder"])
def test_what_is_no_file_is_gone(data, what):
    path = FILE
    if what == "no data folder":
        data = data / "nowhere"
    elif what == "file as folder":
        path = f"{FILE}/x"
    else:
        (data / FILE).unlink()
    if what == "folder":
        (data / FILE).mkdir()
    if what == "pipe":
        os.mkfifo(data / FILE)  # to open it would hang

    with pytest.raises(FileGone):
        store.open_file(data, path)


def test_superseded_files_are_removed_and_those_gone_already_do_no_harm(data):
    other = data / "jobs" / JOB / "attempt-1" / "other"
    other.write_text("stays")

    store.delete(data, [FILE, FILE, f"jobs/{JOB}/attempt-7/resume.pt"])

    assert not (data / FILE).exists()
    assert other.exists()


@pytest.mark.parametrize("job_id", ["../x", "", "job_..", f"{JOB}/..", "job_\x00"])
def test_only_an_id_that_we_made_becomes_a_folder(tmp_path, job_id):
    with pytest.raises(JobNotFound):
        layout.attempt_folder(tmp_path, job_id, 1)


def test_a_file_that_is_held_outlives_its_own_job(data):
    mine = layout.attempt_folder(data, OTHER, 1)

    held = store.link_teacher(data, FILE, mine, "teacher")
    again = store.link_teacher(data, FILE, mine, "teacher")
    store.delete(data, [FILE])

    assert held == again != data / FILE
    assert held.read_bytes() == b"weights"
    with pytest.raises(FileGone):
        store.link_teacher(data, FILE, layout.attempt_folder(data, OTHER, 2), "teacher")
    store.unlink_teachers(mine)
    store.unlink_teachers(mine)
    assert not list(mine.iterdir())


def test_without_links_a_file_is_read_where_it_is(data, monkeypatch):
    def link(*_, **__) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)

    assert store.link_teacher(data, FILE, layout.attempt_folder(data, OTHER, 1), "teacher") == data / FILE


def test_on_a_disk_that_takes_nothing_a_file_is_read_where_it_is(data, monkeypatch):
    def mkdir(*_, **__) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(pathlib.Path, "mkdir", mkdir)

    assert store.link_teacher(data, FILE, layout.attempt_folder(data, OTHER, 1), "teacher") == data / FILE


def test_every_attempt_has_a_folder_of_its_own(tmp_path):
    assert layout.attempt_folder(tmp_path, JOB, 12) == tmp_path / "jobs" / JOB / "attempt-12"


def test_checkpoint_files_without_a_row_go_with_their_folders_and_nothing_else_does(data):
    attempt = layout.attempt_folder(data, JOB, 2)
    for name in ("checkpoints/step-1/resume.pt", "checkpoints/step-2/resume.pt", "checkpoints/step-3/.resume.pt.x"):
        (attempt / name).parent.mkdir(parents=True)
        (attempt / name).write_bytes(b"weights")
    (attempt / layout.TRAINER_LOG).write_text("said")
    (attempt / "checkpoints" / "elsewhere").symlink_to(data.parent)

    store.delete_unnamed_checkpoints(data, JOB, named={f"jobs/{JOB}/attempt-2/checkpoints/step-1/resume.pt"})

    left = {path.relative_to(attempt).as_posix() for path in attempt.rglob("*")}
    stays = ("checkpoints/elsewhere", "checkpoints/step-1", "checkpoints/step-1/resume.pt")
    assert left == {"trainer.log", "checkpoints", *stays}
    assert (data / FILE).exists()
    assert (data.parent / "secret").exists()
