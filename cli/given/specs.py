"""A spec as people give it: a YAML or JSON file, or stdin, with `--set config.epochs=3` on top."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cli.errors import Misused


class Loader(yaml.SafeLoader):
    """YAML with the plain scalars of JSON only: `5e-4` is a number, `no` and `2026-01-01` are text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # a registry, filled below

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


for kind, pattern in (
    ("null", r"null|~|"),
    ("bool", r"true|false"),
    ("int", r"[-+]?(0|[1-9][0-9]*)"),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(rf"^(?:{pattern})$"), None)


def assemble(source: str | None, mode: str | None, settings: Sequence[str]) -> dict[str, Any]:
    """The spec in `source` (a file, `-` for stdin, or none), with the mode and the settings put over it."""
    if source is None and mode is None:
        raise Misused("Give a spec file, or --mode train or --mode guide.")
    spec: dict[str, Any] = {} if source is None else read(source)
    if mode is not None:
        spec["mode"] = mode
    spec.setdefault("config", {})
    for setting in settings:
        put(spec, setting)
    try:
        json.dumps(spec, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Misused(f"The spec holds something that JSON cannot: {error}.") from error
    return spec


def read(source: str) -> dict[str, Any]:
    """The mapping in a YAML or JSON file."""
    try:
        # Editors on Windows begin a file with a mark that is no part of it.
        text = sys.stdin.read().removeprefix("\ufeff") if source == "-" else Path(source).read_text("utf-8-sig")
        content = json.loads(text) if source.endswith(".json") else yaml.load(text, Loader)
    except OSError as error:
        raise Misused(f"{source}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Misused(f"{source}, line {line}: {error.problem}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise Misused(f"{source}: {error}") from error
    if not isinstance(content, dict):
        raise Misused(f"{source} holds no spec; one looks like {{mode: train, config: {{dataset: mnist5k}}}}.")
    return content


def put(spec: dict[str, Any], setting: str) -> None:
    """Carry out one `config.student.arch=cnn_small`; the value is read as YAML."""
    path, equals, value = setting.partition("=")
    *folders, last = path.split(".")
    if not equals or not all([*folders, last]):
        raise Misused(f"--set {setting}: it must look like config.epochs=3.")
    place = spec
    for name in folders:
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            raise Misused(f"--set {setting}: {name} holds no fields.")
    try:
        place[last] = yaml.load(value, Loader)
    except yaml.YAMLError as error:
        raise Misused(f"--set {setting}: {value!r} cannot be read as a value.") from error


def pairs(labels: Sequence[str]) -> dict[str, str]:
    """`team=vision` and its like as a mapping."""
    found = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals or not name:
            raise Misused(f"--label {label}: it must look like name=value.")
        found[name] = value
    return found


def put_over(spec: dict[str, Any], field: str, given: Mapping[str, Any]) -> None:
    """Add what was given on the command line to a mapping beside the spec: its labels or its limits."""
    if not given:
        return
    place = spec.setdefault(field, {})
    if not isinstance(place, dict):
        raise Misused(f"{field} in the spec must be a mapping, not {json.dumps(place)}.")
    place.update(given)
