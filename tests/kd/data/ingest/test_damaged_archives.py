"""Archives that were cut off or spoilt, and files that are none, are refused in words."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kd.data.ingest.containers import open_container
from kd.data.ingest.listing import BadSource, Limits
from tests.kd.data.ingest.bringing import FILES, KINDS, bring, contents


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, kind: str) -> None:
    path = bring(tmp_path, kind, FILES)
    content = path.read_bytes()

    whole = len(content.rstrip(b"\0"))  # a tar is filled up

    for share in (0.3, 0.6, 0.9):
        path.write_bytes(content[: int(share * whole)])
        with pytest.raises(BadSource, match=r"pets\.\S+ makes no data set: it is damaged"):
            contents(path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_bit_is_seen(tmp_path: Path, kind: str) -> None:
    files = {"cat/1.jpg": os.urandom(20_000)}
    path = bring(tmp_path, kind, files)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)

    with pytest.raises(BadSource, match="it is damaged"):
        contents(path)


def test_a_tar_whose_middle_is_no_tar_does_not_end_there(tmp_path: Path) -> None:
    path = bring(tmp_path, "tar", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"pets/dog/sub/2.jpg")] ^= 1
    path.write_bytes(content)

    with pytest.raises(BadSource, match=r"damaged at 'pets/cat/naïve.jpg', .* \(what follows is no tar\)"):
        open_container(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "nothing of that"),
        (b"\x89PNG\r\n\x1a\n", "one image"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"hello, world " * 100, "nothing of that"),
    ],
)
def test_a_file_that_is_no_container_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "a").write_bytes(content)

    with pytest.raises(BadSource, match=f"bring a folder, a zip or a tar .* it is {what}"):
        open_container(tmp_path / "a")


SMALL = {"cat/1.jpg": b"one" * 40, "dog/2.jpg": os.urandom(100)}


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("brought")
    return {kind: bring(place, kind, SMALL).read_bytes() for kind in KINDS[1:]}


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS[1:]),
    places=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4),
    cut=st.floats(0.5, 1.0),
)
def test_a_spoilt_archive_is_read_or_refused_in_words(
    brought: dict[str, bytes], tmp_path: Path, kind: str, places: list[tuple[float, bytes]], cut: float
) -> None:
    content = bytearray(brought[kind])
    for place, harm in places:
        at = int(place * (len(content) - len(harm)))
        content[at : at + len(harm)] = harm
    (tmp_path / "a").write_bytes(content[: int(cut * len(content))])

    try:
        found = contents(tmp_path / "a", Limits(files=100))
    except BadSource:
        return
    assert all(len(content) <= io.DEFAULT_BUFFER_SIZE for content in found.values())
