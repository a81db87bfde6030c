"""Whoever is ended while he unpacks photos goes on with what he has, and comes to the very same data set."""

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kd.data import drafts, packed_facts, packed_images
from kd.data.ingest import add as adding
from kd.data.ingest import images
from kd.data.ingest.add import add
from kd.data.ingest.identity import identity_of
from kd.data.ingest.listing import BadSource
from kd.data.packed_facts import PackedFacts
from kd.data.packing import CannotPack
from kd.locks import try_lock
from tests.kd.data.ingest.bringing import KINDS, bring
from tests.kd.data.ingest.photos import encoded, photo

NAME = "packed/pets"
EACH = 6
PHOTOS = {
    f"{kind}/{number}.jpg": encoded(photo(10 * place + number), "JPEG")
    for place, kind in enumerate(("cat", "dog"))
    for number in range(EACH)
}
UNREADABLE = {"dog/8.jpg": PHOTOS["dog/1.jpg"][:-200]}
WANTED = {"size": 16, "skip_unreadable": True, "identity": lambda: "this very file"}


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Ended(BaseException):
    """As Ctrl-C, or a worker that is to leave."""


@pytest.fixture(autouse=True)
def _every_photo_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is written, and made safe, by itself."""
    monkeypatch.setattr(adding, "CHUNK_BYTES", 1)
    monkeypatch.setattr(drafts, "KEEP_SECONDS", 0.0)


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of the photos that are unpacked from now on."""
    names: list[str] = []
    decode = images.decode
    monkeypatch.setattr(images, "decode", lambda name, *given, **how: names.append(name) or decode(name, *given, **how))
    return names


@pytest.fixture
def whole(tmp_path: Path) -> tuple[PackedFacts, dict[str, bytes]]:
    """The data set that nobody disturbed: its facts, and its files."""
    facts = add(tmp_path / "whole", NAME, bring(tmp_path / "a", "zip", PHOTOS | UNREADABLE), **WANTED)
    return facts, content_of(tmp_path / "whole" / NAME)


def ended_after(count: int) -> Callable[[int, float], None]:
    def safe(images: int, fraction: float) -> None:
        if images >= count:
            raise Ended

    return safe


@pytest.mark.parametrize("kind", KINDS)
def test_ended_again_and_again_it_unpacks_no_photo_twice_and_is_the_same(tmp_path, whole, unpacked, kind):
    source, chance, heard = bring(tmp_path / "b", kind, PHOTOS | UNREADABLE), random.Random(kind), []
    for count in sorted(chance.sample(range(1, 2 * EACH), 3)):
        with pytest.raises(Ended):
            add(tmp_path / "data", NAME, source, safe=ended_after(count), **WANTED)
        assert packed_facts.names(tmp_path / "data") == ()

    facts = add(tmp_path / "data", NAME, source, safe=lambda *safe: heard.append(safe), **WANTED)

    assert facts == whole[0]
    assert packed_images.verify(tmp_path / "data", NAME) == facts
    assert sorted(name for name in unpacked if name in PHOTOS) == sorted(PHOTOS)
    assert heard == sorted(heard)
    assert heard[-1] == (2 * EACH, pytest.approx(1 - 0.8 / (2 * EACH + 1)))
    assert [each.name for each in (tmp_path / "data" / "packed").iterdir()] == ["pets"]


def test_a_process_that_is_killed_is_gone_on_with(tmp_path, whole, unpacked):
    source = bring(tmp_path / "b", "zip", PHOTOS | UNREADABLE)
    killed = f"""
import os, signal
from pathlib import Path
from kd.data import drafts
from kd.data.ingest import add as adding
adding.CHUNK_BYTES, drafts.KEEP_SECONDS = 1, 0.0
adding.add(Path({str(tmp_path / "data")!r}), {NAME!r}, Path({str(source)!r}), size=16, skip_unreadable=True,
    identity=lambda: {WANTED["identity"]()!r},
    safe=lambda images, fraction: images == 7 and os.kill(os.getpid(), signal.SIGKILL))
"""
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -9

    facts = add(tmp_path / "data", NAME, source, **WANTED)

    assert facts == whole[0]
    assert content_of(tmp_path / "data" / NAME) == whole[1]
    assert len([name for name in unpacked if name in PHOTOS]) == 2 * EACH - 7


def flip_a_bit(draft: Path) -> None:
    content = bytearray((draft / drafts.IMAGES).read_bytes())
    content[len(content) // 2] ^= 1
    (draft / drafts.IMAGES).write_bytes(content)


def cut_the_images(draft: Path) -> None:
    content = (draft / drafts.IMAGES).read_bytes()
    (draft / drafts.IMAGES).write_bytes(content[: len(content) // 2])


def spoil_the_header(draft: Path) -> None:
    content = bytearray((draft / drafts.IMAGES).read_bytes())
    content[30] ^= 0xFF
    (draft / drafts.IMAGES).write_bytes(content)


def lose_the_images(draft: Path) -> None:
    (draft / drafts.IMAGES).write_bytes(b"")


def cut_a_line(draft: Path) -> None:
    content = (draft / drafts.KEPT).read_bytes()
    (draft / drafts.KEPT).write_bytes(content[:-20])


def write_nonsense(draft: Path) -> None:
    (draft / drafts.KEPT).write_bytes(b'{"shape": [16, 16, 3], "names": ["../../etc"], "crc32": 1}\nnonsense\n')


def swap_two_names(draft: Path) -> None:
    lines = (draft / drafts.KEPT).read_bytes()
    (draft / drafts.KEPT).write_bytes(lines.replace(b"cat/3.jpg", b"dog/3.jpg", 1))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        spoil_the_header,
        cut_the_images,
        lose_the_images,
        cut_a_line,
        write_nonsense,
        swap_two_names,
        shutil.rmtree,
    ],
)
def test_what_is_damaged_of_a_draft_is_unpacked_again(tmp_path, whole, unpacked, damage):
    source = bring(tmp_path / "b", "zip", PHOTOS | UNREADABLE)
    with pytest.raises(Ended):
        add(tmp_path / "data", NAME, source, safe=ended_after(8), **WANTED)
    unpacked.clear()
    (draft,) = (tmp_path / "data" / "packed").iterdir()

    damage(draft)
    facts = add(tmp_path / "data", NAME, source, **WANTED)

    assert facts == whole[0]
    assert content_of(tmp_path / "data" / NAME) == whole[1]
    assert len(set(unpacked) & PHOTOS.keys()) > 2 * EACH - 8


@pytest.mark.parametrize("other", [{"size": 17}, {"identity": lambda: "another file"}, {"classes": ("dog", "cat")}])
def test_what_was_begun_of_other_photos_or_another_wish_is_left_alone(tmp_path, unpacked, other):
    source = bring(tmp_path / "b", "zip", PHOTOS)
    with pytest.raises(Ended):
        add(tmp_path / "data", NAME, source, safe=ended_after(8), **WANTED)
    unpacked.clear()

    add(tmp_path / "data", NAME, source, **WANTED | other)

    assert sorted(unpacked) == sorted(PHOTOS)


def test_of_two_at_once_the_second_has_a_draft_of_its_own(tmp_path, whole):
    source = bring(tmp_path / "b", "zip", PHOTOS | UNREADABLE)
    second: list[PackedFacts] = []

    def another(images: int, fraction: float) -> None:
        if not second:
            second.append(add(tmp_path / "data", NAME, source, **WANTED))

    first = add(tmp_path / "data", NAME, source, safe=another, may_be_there=True, **WANTED)

    assert first == second[0] == whole[0]
    assert [each.name for each in (tmp_path / "data" / "packed").iterdir()] == ["pets"]


def test_one_that_finds_another_at_it_leaves_nothing_beside_what_he_made(tmp_path):
    source, seen = bring(tmp_path / "b", "zip", PHOTOS | UNREADABLE), []

    def another(images: int, fraction: float) -> None:
        if not seen:
            seen.append(add(tmp_path / "data", NAME, source, **WANTED | {"size": 17}))

    with pytest.raises(CannotPack, match="exists already"):
        add(tmp_path / "data", NAME, source, safe=another, **WANTED)

    assert [each.name for each in (tmp_path / "data" / "packed").iterdir()] == ["pets"]


@pytest.mark.parametrize(
    ("error", "lasts"),
    [(OSError(errno.EIO, "it hangs"), True), (MemoryError(), True), (OSError(errno.ENOSPC, "full"), False)],
)
def test_what_may_be_over_the_next_time_leaves_what_is_unpacked(tmp_path, unpacked, error, lasts):
    source = bring(tmp_path / "b", "zip", PHOTOS)

    def fails(images: int, fraction: float) -> None:
        if images == 8:
            raise error

    with pytest.raises(type(error)):
        add(tmp_path / "data", NAME, source, safe=fails, **WANTED)
    unpacked.clear()
    add(tmp_path / "data", NAME, source, **WANTED)

    assert len(unpacked) == 2 * EACH - 8 * lasts


def test_a_source_is_known_until_it_is_written_to_wherever_a_link_leads(tmp_path):
    (tmp_path / "photos").mkdir()
    photos, link = tmp_path / "photos" / "1.zip", tmp_path / "link.zip"
    photos.write_bytes(b"before")
    link.symlink_to(photos)
    known = {path: identity_of(path) for path in (photos, link, tmp_path / "photos")}
    times = photos.stat()

    assert {path: identity_of(path) for path in known} == known
    photos.write_bytes(b"behind")
    os.utime(photos, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert all(identity_of(path) != before for path, before in known.items())


def test_an_error_leaves_no_draft_and_no_lock(tmp_path):
    source = bring(tmp_path / "b", "zip", PHOTOS | UNREADABLE)

    with pytest.raises(BadSource, match="1 image cannot be read"):
        add(tmp_path / "data", NAME, source, **WANTED | {"skip_unreadable": False})

    assert list((tmp_path / "data" / "packed").iterdir()) == []
    with try_lock(tmp_path / "data" / "packed" / ".pets.x") as mine:
        assert mine
