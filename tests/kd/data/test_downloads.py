"""A download is whole and kept, or leaves nothing behind."""

import gzip
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kd.data import published
from kd.errors import DataError
from kd.machine.torchvision_import import torchvision_datasets
from tests.kd.data.contents import files_in
from tests.kd.data.publishing import NOWHERE, SMALL_ARCHIVE, idx_files, md5, put, small_cifar


@pytest.fixture
def served(tmp_path_factory, proxies) -> Iterator[tuple[str, Path]]:
    """The address of a server with a data set in the form of MNIST and one in that of CIFAR, and their folder."""
    proxies.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path_factory.mktemp("served")
    put(idx_files(), folder, packed=True)
    (folder / "cifar.tar.gz").write_bytes(SMALL_ARCHIVE)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


def load_from(url: str, name: str, folder: Path) -> int:
    """How many images there are in a small data set that was published at `url`."""
    if name == "cifar100":
        return len(published.cifar(name, small_cifar(f"{url}/cifar.tar.gz"), folder).labels)
    resources = [(f"{name}.gz", md5(gzip.compress(content, mtime=0))) for name, content in idx_files().items()]
    kind = type("MNIST", (torchvision_datasets().MNIST,), {"mirrors": [f"{url}/"], "resources": resources})
    return len(published.idx(name, kind, folder).labels)


@pytest.mark.parametrize(("name", "count"), [("mnist", 250), ("cifar100", 5)])
def test_what_was_downloaded_is_there_the_next_time(name, count, served, tmp_path, capfd):
    url, _ = served

    assert load_from(url, name, tmp_path) == count
    assert load_from(NOWHERE, name, tmp_path) == count
    assert list(tmp_path.rglob(".*")) == []
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_download_that_is_not_what_was_published_leaves_nothing_behind(name, served, tmp_path):
    url, folder = served
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(DataError, match=r"the download failed .*corrupted.* by hand"):
        load_from(url, name, tmp_path)

    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_silent_server_is_not_waited_for(name, tmp_path, proxies):
    proxies.setenv("no_proxy", "127.0.0.1")
    proxies.setattr(published, "DOWNLOAD_TIMEOUT_SECONDS", 0.3)

    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(DataError, match=r"the download failed .*timed out"),
    ):
        load_from(f"http://127.0.0.1:{mute.getsockname()[1]}", name, tmp_path)

    assert files_in(tmp_path) == []
    assert socket.getdefaulttimeout() is None
