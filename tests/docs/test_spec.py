"""Every field of a spec and of its envelope is documented, and no other."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from api.app import build_app
from jobs.settings import Settings
from kd.spec import GuideConfig, TrainConfig, parse
from tests.support.pages import ROOT, SPEC, first_column, in_backticks, section


@pytest.mark.parametrize("config", [TrainConfig, GuideConfig])
def test_every_field_of_a_spec_is_documented(config):
    fields = fields_of(config.model_json_schema())

    assert len(fields) > 25
    assert [name for name in fields if not re.search(rf"`[\w.]*\b{name}\b", SPEC)] == []


def test_no_field_is_documented_that_a_spec_does_not_have():
    fields = {name for config in (TrainConfig, GuideConfig) for name in fields_of(config.model_json_schema())}
    tables = SPEC.replace(section(SPEC, "The envelope"), "")

    documented = {part for cell in first_column(tables) for name in in_backticks(cell) for part in name.split(".")}

    assert documented - fields == set()


def fields_of(schema: dict[str, Any]) -> list[str]:
    return [name for part in (schema, *schema["$defs"].values()) for name in part["properties"]]


def test_the_envelope_of_a_job_is_documented_field_by_field():
    document = openapi()
    taken = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = {field for mode in taken["oneOf"] for field in leaves(document, mode)} - {"mode", "config"}

    documented = {name for cell in first_column(section(SPEC, "The envelope")) for name in in_backticks(cell)}

    assert documented == fields


def leaves(document: dict[str, Any], schema: dict[str, Any], above: str = "") -> Iterator[str]:
    """The fields of a model in the OpenAPI document, also of those that are models: `limits.max_run_seconds`."""
    for name, field in model(document, schema)["properties"].items():
        if name != "config" and "properties" in model(document, field):
            yield from leaves(document, field, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def model(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_example_specs_are_valid(path):
    assert parse(yaml.safe_load(path.read_text())).mode == path.stem


@cache
def openapi() -> dict[str, Any]:
    document: dict[str, Any] = build_app(Settings()).openapi()
    return document
