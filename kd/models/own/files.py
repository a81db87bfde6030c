"""A file of somebody's own models: a Python module with a table `MODELS` of factories by name."""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from torch import nn

from kd.errors import KdError, first_line
from kd.models.own import names
from kd.models.own.names import PREFIX, Registered
from kd.models.own.networks import arguments_of

TABLE = "MODELS"


class BadModels(KdError):
    """A file that registers no models."""

    def __init__(self, path: Path, why: str):
        super().__init__(f"{path} registers no models: {why}.")
        self.path = path


@contextmanager
def registered(paths: Sequence[Path]) -> Iterator[None]:
    """While the block lasts, this process has the models of these files. Raises `BadModels`, or `BadModel` for a
    factory that cannot be called."""
    found: dict[str, Registered] = {}
    for path in paths:
        for name, one in read(path).items():
            if name in found:
                raise BadModels(path, f"{found[name].file} has a {name} as well")
            found[name] = one
    with names.registered(found):
        yield


def read(path: Path) -> Mapping[str, Registered]:
    """What a file registers, by names as specs have them. Its code is run for it, as `python FILE` would."""
    path = path.resolve()
    if not path.is_file():
        raise BadModels(path, "it is a folder, and no file" if path.is_dir() else "there is no such file")
    version = hashlib.sha256(path.read_bytes()).hexdigest()
    given = getattr(_import(path), TABLE, None)
    example = f'{TABLE} = {{"tiny": tiny}}, where tiny is a function that builds a module'
    if given is None:
        raise BadModels(path, f"it has no table of them, such as {example}")
    if not isinstance(given, dict) or not given:
        raise BadModels(path, f"its {TABLE} must be a dict that is not empty, such as {example}")
    found = {}
    for name, factory in given.items():
        arch = f"{PREFIX}{name}"
        if not isinstance(name, str) or not names.NAME.fullmatch(arch):
            raise BadModels(path, f"{name!r} is no name for a model; specs would have {names.NAMES_ARE}")
        if (package := names.package_of(arch)) is not None:
            raise BadModels(path, f"{arch} is registered by {package} already: choose another name")
        if isinstance(factory, nn.Module):
            raise BadModels(path, f"{name!r} is a module, where a function is wanted that builds one anew at each call")
        if not callable(factory):
            raise BadModels(path, f"{name!r} is no function that builds a module")
        arguments_of(arch, factory)
        found[arch] = Registered(factory, version, file=path)
    return found


def _import(path: Path) -> ModuleType:
    name = f"stillhouse_models_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadModels(path, "it is no Python file: its name must end in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    # Last, so that what lies beside the file is found, and hides nothing that is installed.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # it is somebody's code, which may do anything
        raise BadModels(path, f"to import it raises {type(error).__name__}: {first_line(error)}") from error
    return module
