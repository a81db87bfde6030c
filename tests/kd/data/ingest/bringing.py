"""Folders and archives as people bring them."""

import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from kd.data.ingest.containers import open_container
from kd.data.ingest.listing import Limits

Files = Mapping[str, bytes]
KINDS = ("folder", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz")
FILES: Files = {
    "pets/cat/1.jpg": b"one" * 1_000,
    "pets/cat/naïve.jpg": os.urandom(3_000),
    "pets/dog/sub/2.jpg": b"",
    "pets/" + "long/" * 12 + "3.jpg": b"three",
}


def bring(place: Path, kind: str, files: Files) -> Path:
    """These files as a folder or an archive of one kind."""
    place.mkdir(exist_ok=True)
    path = place / f"pets.{kind}" if kind != "folder" else place / "pets"
    if kind == "folder":
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        method = kind.removeprefix("tar").removeprefix(".")
        with tarfile.open(path, f"w:{method}") as archive:
            for name, content in files.items():
                add(archive, name, content)
    return path


def add(
    archive: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, len(content), link
    archive.addfile(member, io.BytesIO(content))


def contents(path: Path, limits: Limits | None = None) -> dict[str, bytes]:
    """All that a container gives."""
    container = open_container(path, limits)
    return dict(container.read([entry.name for entry in container.entries]))
