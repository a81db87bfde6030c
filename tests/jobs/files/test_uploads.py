"""Files in parts: each part once, in its place, whoever brings it; and what nobody brings on goes."""

import contextlib
import hashlib
import io
import os
import threading

import pytest

from jobs.errors import NoSuchUpload, PartMisplaced
from jobs.files import uploads
from jobs.files.uploads import ABANDONED_SECONDS, Announced

CONTENT = bytes(range(256)) * 40


def announced(name: str = "my photos.zip", content: bytes = CONTENT) -> Announced:
    return Announced(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def append(data_dir, upload, offset: int, part: bytes) -> int:
    return uploads.append(data_dir, upload, offset, io.BytesIO(part), len(part))


def test_a_file_that_is_announced_again_goes_on_where_it_was(tmp_path):
    upload, is_new = uploads.announce(tmp_path, announced())
    append(tmp_path, upload, 0, CONTENT[:100])

    again, is_new_again = uploads.announce(tmp_path, announced())
    other, _ = uploads.announce(tmp_path, announced(name="others.zip"))

    assert (is_new, is_new_again, again) == (True, False, upload)
    assert [uploads.received(tmp_path, each) for each in (again, other)] == [100, 0]
    assert append(tmp_path, again, 100, CONTENT[100:]) == len(CONTENT)
    assert uploads.path(tmp_path, upload).read_bytes() == CONTENT
    assert uploads.path(tmp_path, upload).name == "my-photos.zip", "as sentences of it will say"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("upload.json", "upload.json"),
        ("a.tar.gz", "a.tar.gz"),
        ("фото.zip", "zip"),
        ("фото 1.zip", "1.zip"),
    ],
)
def test_no_name_leads_out_of_its_folder(tmp_path, name, stored):
    upload, _ = uploads.announce(tmp_path, announced(name=name))

    assert uploads.path(tmp_path, upload) == tmp_path / "uploads" / upload.id / stored
    assert uploads.received(tmp_path, upload) == 0, "it is not what was said of it"


@pytest.mark.parametrize(("offset", "part"), [(0, b"x"), (99, b"x"), (101, b"x"), (100, CONTENT)])
def test_a_part_that_is_not_the_next_one_is_refused_and_changes_nothing(tmp_path, offset, part):
    upload, _ = uploads.announce(tmp_path, announced())
    append(tmp_path, upload, 0, CONTENT[:100])

    with pytest.raises(PartMisplaced, match=f"Of {upload.id} 100 of 10240 bytes are there") as refused:
        append(tmp_path, upload, offset, part)

    assert refused.value.received == 100
    assert uploads.path(tmp_path, upload).read_bytes() == CONTENT[:100]


def test_of_many_who_bring_the_same_part_at_once_one_does(tmp_path):
    upload, _ = uploads.announce(tmp_path, announced())
    together, done = threading.Barrier(8), []

    def bring() -> None:
        together.wait()
        with contextlib.suppress(PartMisplaced):
            done.append(append(tmp_path, upload, 0, CONTENT[:5_000]))

    threads = [threading.Thread(target=bring) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert done == [5_000]
    assert uploads.path(tmp_path, upload).read_bytes() == CONTENT[:5_000]


def test_what_nobody_has_touched_for_a_day_is_abandoned(tmp_path):
    old, _ = uploads.announce(tmp_path, announced(name="old.zip"))
    young, _ = uploads.announce(tmp_path, announced(name="young.zip"))
    folder = uploads.path(tmp_path, old).parent
    for each in (*folder.iterdir(), folder):
        os.utime(each, (0, 0))

    assert list(uploads.abandoned(tmp_path, ABANDONED_SECONDS)) == [old.id]
    uploads.remove(tmp_path, old.id)
    assert not folder.exists()
    assert uploads.read(tmp_path, young.id) == young
    with pytest.raises(NoSuchUpload):
        uploads.read(tmp_path, old.id)
