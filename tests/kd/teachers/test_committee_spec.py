"""What a spec may say of a committee: which teachers are one, and which are none."""

import json

import pytest
from pydantic import ValidationError

from kd.spec import GuideSpec, TrainSpec, parse
from kd.spec.faults import find

JOB = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"


@pytest.mark.parametrize(
    ("mode", "config", "pointer", "why"),
    [
        (
            "train",
            {"teacher": {"committee": [{}]}},
            "/config/teacher/committee",
            "a committee has 2 to 8 members, not 1",
        ),
        ("train", {"teacher": {"committee": [{}] * 9}}, "/config/teacher/committee", "2 to 8 members, not 9"),
        (
            "train",
            {"teacher": {"committee": [{"job": JOB}, {"job": JOB}]}},
            "/config/teacher/committee",
            f"the teacher of {JOB} is named twice",
        ),
        (
            "train",
            {"teacher": {"committee": [{}, {"archs": "cnn"}]}},
            "/config/teacher/committee/1/archs",
            "there is no such field; the nearest are arch",
        ),
        (
            "train",
            {"teacher": {"committee": [{}, {}], "arch": "cnn"}},
            "/config/teacher/arch",
            "there is no such field",
        ),
        (
            "guide",
            {"teacher": {"committee": [{}, {}]}, "rounds": {"teacher": "route"}},
            "/config",
            "rounds.teacher 'route' needs a single teacher",
        ),
        (
            "guide",
            {"teacher": {"committee": [{}, {}]}, "rounds": {"teacher": "cotrain"}},
            "/config",
            "rounds.teacher 'cotrain' needs a single teacher",
        ),
        (
            "train",
            {"teacher": {"committee": [{}, {}]}, "objective": {"also": [{"method": "rkd"}]}},
            "/config",
            "objective.also.0.method rkd compares features, and a committee is no one model and has none: take one",
        ),
        (
            "guide",
            {"teacher": {"committee": [{}, {}]}, "student": {"arch": "cnn"}, "objective": {"method": "at"}},
            "/config",
            "objective.method at compares maps of stages, and a committee is no one model and has none",
        ),
        (
            "train",
            {"teacher": {"committee": [{}, {"augmentation": {"crop_padding": 16, "flip": False}}]}},
            "/config",
            "teacher.committee.1.augmentation.crop_padding must be at most 14",
        ),
    ],
)
def test_what_is_no_committee_is_refused_where_it_stands(mode, config, pointer, why):
    model = {"train": TrainSpec, "guide": GuideSpec}[mode]
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(json.dumps({"mode": mode, "config": config}))

    details = refused.value.errors(include_url=False, include_context=False)
    faults = {fault.pointer: fault.message for fault in find(details, {"mode": mode, "config": config}, model=model)}
    assert why in faults[pointer]


def test_a_spec_with_a_committee_is_the_same_after_a_round_trip():
    members = [{"arch": "cnn_small", "epochs": 2}, {"job": JOB, "role": "teacher.2"}]
    spec = parse({"mode": "train", "config": {"teacher": {"committee": members}}})

    assert parse(spec.model_dump_json()) == spec
