"""What a `Client` can do with data sets: list them, make one of photos, delete one."""

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from client.answers import Job, Json, Part, Sha256, Size
from client.encoding import dataset_path, upload_path
from client.errors import ClientError, NameTaken, Refused
from client.http import Http
from client.patience import ask_patiently

PART_BYTES = 8 << 20
"""Brought at a time; less where the server takes no part so large."""

Progress = Callable[[int, int], None]


class Dataset(Part):
    name: str
    images: Size
    classes: Size
    digest: str | None


class Upload(Part):
    id: str
    size: Size
    received: Size
    part_bytes: Size
    sha256: Sha256


class Datasets:
    """A part of `client.Client`, which has the connection."""

    _http: Http

    def datasets(self) -> Iterator[Json]:
        """The data sets that there are, with their sizes and digests."""
        return self._http.pages("/datasets", {}, Dataset)

    def dataset_report(self, name: str) -> Json:
        """What is wrong with a data set of somebody's own images, as was found when it was made."""
        return self._http.request_json("GET", f"{dataset_path(name)}/report")

    def push_dataset(
        self,
        path: str | PathLike[str],
        name: str,
        *,
        size: int | None = None,
        classes: Sequence[str] | None = None,
        skip_unreadable: bool = False,
        progress: Progress = lambda sent, total: None,
    ) -> Json:
        """Bring photos and have a data set made of them: a zip or a tar, an `.npz`, or a folder, which is zipped first.

        `size` is the side in pixels of the squares that all images become, `classes` their order if not that of the
        alphabet. Goes on where an earlier call was interrupted; `progress` hears how many bytes of all are there.
        Answers with the job that makes the data set, whose events tell what was understood.
        """
        if any(each["name"] == name for each in self.datasets()):  # before hours of sending
            raise NameTaken(name)
        with _one_file(Path(path)) as file:
            upload = self._bring(file, progress)
        wanted: Json = {"name": name, "upload": upload, "skip_unreadable": skip_unreadable}
        if size is not None:
            wanted["size"] = size
        if classes is not None:
            wanted["classes"] = list(classes)
        return self._http.request_json("POST", "/datasets", holds=Job, body=wanted)

    def delete_dataset(self, name: str) -> None:
        """Delete a data set of somebody's own images; not while a job learns of it."""
        self._http.request("DELETE", dataset_path(name))

    def _bring(self, file: Path, progress: Progress) -> str:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            said: Json = {"name": file.name, "size": file.stat().st_size, "sha256": digest}
            upload = self._http.request_json("POST", "/uploads", holds=Upload, body=said)
            here = upload_path(upload["id"])
            part_bytes = max(1, min(PART_BYTES, upload["part_bytes"]))
            while upload["received"] < upload["size"]:
                progress(upload["received"], upload["size"])
                content.seek(upload["received"])
                upload = self._bring_part(here, upload["received"], content.read(part_bytes))
        progress(upload["size"], upload["size"])
        return str(upload["id"])

    def _bring_part(self, here: str, offset: int, part: bytes) -> Json:
        try:
            answer = self._http.request(
                "PUT",
                here,
                content=(part,),
                params={"offset": offset},
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(len(part))},
            )
            return self._http.json_object(answer.content, Upload)
        except ClientError as error:
            misplaced = isinstance(error, Refused) and error.code == "part_misplaced"
            if not error.passing and not misplaced:
                raise
            # Its answer was lost, or somebody else brings the same file: the server knows how much is there.
            return ask_patiently(lambda: self._http.request_json("GET", here, holds=Upload))


@contextmanager
def _one_file(path: Path) -> Iterator[Path]:
    """The file, or a folder as one: byte for byte the same each time, so that it can be brought on."""
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{path.resolve().name}.zip"
        with zipfile.ZipFile(file, "w") as archive:  # photos do not become smaller
            for each in sorted(found for found in path.rglob("*") if found.is_file()):
                entry = zipfile.ZipInfo(each.relative_to(path).as_posix())
                with each.open("rb") as content, archive.open(entry, "w", force_zip64=True) as into:
                    while block := content.read(1 << 20):
                        into.write(block)
        yield file
