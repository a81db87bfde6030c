"""POST /jobs: what is accepted, and what every kind of bad input is told."""

import codecs
import json
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.testclient import TestClient

from kd.spec import parse

JSON = {"Content-Type": "application/json"}


def test_a_submitted_job_is_queued_with_every_default_visible(client: TestClient) -> None:
    answer = client.post("/jobs", json={"mode": "train", "config": {}})

    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert job["status"] == "queued"
    assert job["spec"] == {"mode": "train", "config": {}}
    assert job["resolved_spec"]["config"]["teacher"]["arch"] == "cnn"
    assert job["created_at"].endswith("Z")
    assert client.get(answer.headers["location"]).json() == job


def test_both_modes_are_accepted(client: TestClient) -> None:
    for mode in ("train", "guide"):
        answer = client.post("/jobs", json={"mode": mode, "config": {}})
        assert (answer.status_code, answer.json()["mode"]) == (201, mode)


def test_the_envelope_is_kept_apart_from_the_spec(client: TestClient) -> None:
    envelope = {"name": "naïve 日本", "labels": {"team": "vision", "a/b": ""}, "priority": 7}

    job = client.post("/jobs", json={"mode": "guide", "config": {"epochs": 3}, **envelope}).json()

    assert {key: job[key] for key in envelope} == envelope
    assert job["spec"] == {"mode": "guide", "config": {"epochs": 3}}
    assert set(job["resolved_spec"]) == {"mode", "config"}


BAD_BODIES: list[tuple[Any, str, str]] = [
    # the body, where the problem is, what the sentence holds
    ({"mode": "train"}, "/config", "missing"),
    ({"config": {}}, "/mode", "train, guide"),
    ({"mode": "trian", "config": {}}, "/mode", "train, guide"),
    ({"mode": ["train"], "config": {}}, "/mode", "train, guide"),
    ([], "", "object"),
    ("train", "", "object"),
    ({"mode": "train", "config": []}, "/config", "object"),
    ({"mode": "train", "config": None}, "/config", "object"),
    ({"mode": "train", "config": {}, "limit": {}}, "/limit", "the nearest are limits"),
    ({"mode": "train", "config": {}, "limits": {"max_run_seconds": 0}}, "/limits/max_run_seconds", "greater than 0"),
    ({"mode": "train", "config": {}, "limits": {"max_stall_seconds": 3}}, "/limits/max_stall_seconds", "equal to 10"),
    ({"mode": "train", "config": {}, "limits": {"max_hours": 3}}, "/limits/max_hours", "no such field"),
    ({"mode": "train", "config": {}, "keep_last": 0}, "/keep_last", "equal to 1"),
    ({"mode": "train", "config": {}, "prioritiy": 1}, "/prioritiy", "priority"),
    ({"mode": "train", "config": {"epoch": 3}}, "/config/epoch", "epochs"),
    ({"mode": "train", "config": {"train": {"a": 1}}}, "/config/train", "no such field"),
    ({"mode": "train", "config": {"rounds": {}}}, "/config/rounds", "no such field"),
    ({"mode": "guide", "config": {"views": 3}}, "/config/views", "no such field"),
    ({"mode": "train", "config": {"teacher": {"art": "cnn"}}}, "/config/teacher/art", "arch"),
    ({"mode": "train", "config": {"a/b~c": 1}}, "/config/a~1b~0c", "no such field"),
    ({"mode": "train", "config": {"epochs": 0}}, "/config/epochs", "greater than or equal to 1, not 0"),
    ({"mode": "train", "config": {"epochs": "3"}}, "/config/epochs", 'should be an integer, not "3"'),
    ({"mode": "train", "config": {"epochs": 3.5}}, "/config/epochs", "integer"),
    ({"mode": "train", "config": {"epochs": True}}, "/config/epochs", "integer"),
    ({"mode": "train", "config": {"epochs": None}}, "/config/epochs", "integer"),
    ({"mode": "train", "config": {"epochs": 10**30}}, "/config/epochs", "less than or equal to 10000"),
    ({"mode": "train", "config": {"views": 0}}, "/config/views", "or should be 'all', not 0"),
    ({"mode": "train", "config": {"views": {"constrained": 1}}}, "/config/views", "should be an integer or"),
    ({"mode": "train", "config": {"control": 1}}, "/config/control", "true or false"),
    ({"mode": "train", "config": {"batch_size": 1}}, "/config/batch_size", "greater than or equal to 2"),
    (
        {"mode": "train", "config": {"objective": {"temperature": 0}}},
        "/config/objective/temperature",
        "should be greater than",
    ),
    ({"mode": "train", "config": {"objective": {"temperature": -1}}}, "/config/objective/temperature", "greater than"),
    ({"mode": "train", "config": {"optimizer": {"lr": 11}}}, "/config/optimizer/lr", "less than or equal to 10"),
    (
        {"mode": "train", "config": {"optimizer": {"name": "lion"}}},
        "/config/optimizer/name",
        "'sgd', 'adam' or 'adamw'",
    ),
    ({"mode": "train", "config": {"optimizer": {"name": "adamw", "momentum": 0.5}}}, "/config/optimizer", "momentum"),
    ({"mode": "train", "config": {"optimizer": {"name": "adam", "nesterov": True}}}, "/config/optimizer", "'sgd'"),
    ({"mode": "train", "config": {"schedule": {"milestones": [3]}}}, "/config/schedule", "only with name 'step'"),
    ({"mode": "train", "config": {"schedule": {"gamma": 0.5}}}, "/config/schedule", "gamma would do nothing"),
    (
        {"mode": "train", "config": {"epochs": 9, "schedule": {"name": "step", "milestones": [3, 9]}}},
        "/config",
        "schedule: milestone 9 is not reached in 9 epochs; the last one may be 8",
    ),
    (
        {"mode": "train", "config": {"schedule": {"name": "step", "milestones": [3], "gamma": 1}}},
        "/config/schedule",
        "a gamma of 1 leaves the rate as it is",
    ),
    ({"mode": "train", "config": {"epochs": 9, "patience": 9}}, "/config", "the student ends after 9 epochs anyway"),
    (
        {
            "mode": "guide",
            "config": {"teacher": {"epochs": 5}, "rounds": {"teacher": "route", "route": {"anchors": 5}}},
        },
        "/config",
        "a teacher of 5 epochs passes at most 4 before its best one",
    ),
    ({"mode": "train", "config": {"augmentation": {"magnitude": 3}}}, "/config/augmentation", "strong operations"),
    (
        {"mode": "train", "config": {"objective": {"soft_weight": 0, "temperature": 2}}},
        "/config",
        "soft_weight above 0",
    ),
    *(
        ({"mode": "train", "config": {"objective": objective}}, "/config" + place, why)
        for objective, place, why in (
            ({"method": "dkt"}, "/objective/method", "'kd', 'dkd', 'dist', 'wttm', 'cross_view', "),
            ({"alpha": 2}, "/objective", "alpha would do nothing here: it acts only with method 'dkd'"),
            ({"method": "dist", "inter": 0, "intra": 0}, "/objective", "nothing is left of dist"),
            ({"method": "wttm", "temperature": 2}, "", "wttm has an exponent instead"),
            ({"soft_weight": 0, "method": "dist"}, "", "method would do nothing here"),
            ({"temperature": [4]}, "/objective/temperature", "at least 2 items"),
            ({"temperature": {"start": 8}}, "/objective/temperature/end", "is missing"),
            ({"soft_weight": {"start": 0, "end": -1}}, "/objective/soft_weight/end", "greater than or equal to 0"),
            ({"soft_weight": {"start": 0, "end": 1, "epochs": 40}}, "", "a ramp of 40 epochs does not come to its end"),
            ({"also": [{"method": "dist", "weight": 0}]}, "/objective/also/0", "leave it out"),
            ({"also": [{"method": "dist", "wieght": 1}]}, "/objective/also/0/wieght", "weight"),
            ({"hard_weight": {"start": 0, "end": 0}, "soft_weight": 0}, "/objective", "nothing to learn"),
            ({"method": "rkd", "temperature": 2}, "", "with another method: rkd compares features"),
            ({"also": [{"method": "sp", "temperature": 2}]}, "/objective/also/0", "sp compares features"),
            ({"method": "sp", "standardize": True}, "/objective", "with a method that compares logits"),
            ({"method": "ofa", "temperature": 2}, "", "ofa takes probabilities as they are"),
            ({"method": "sp", "angles": 1}, "/objective", "angles would do nothing here"),
            ({"method": "rkd", "distances": 0, "angles": 0}, "/objective", "nothing is left of rkd"),
            (
                {"within": {"weight": 2}},
                "/objective",
                "within would do nothing here: it acts only with method 'cross_v",
            ),
            ({"preset": "crld"}, "/objective", "preset would do nothing here: it acts only with method 'cross_view'"),
            ({"method": "cross_view", "preset": "crdl"}, "/objective/preset", "'crld' or 'mlkd'"),
            (
                {"method": "cross_view", "within": {"weight": 0}, "cross": {"weight": 0}},
                "/objective",
                "within, cross, batch and classes all have a weight of 0",
            ),
            (
                {"method": "cross_view", "cross": {"weight": 0, "confidence": 0.5}},
                "/objective/cross",
                "confidence would do nothing here: it acts only with a weight above 0",
            ),
        )
    ),
    (
        {"mode": "train", "config": {"objective": {"also": [{"method": "dkd"}]}, "augmentation": {"mixup": 1}}},
        "/config",
        "objective.method dkd needs one label to an image, and augmentation.mixup blends two of them",
    ),
    *(
        ({"mode": mode, "config": {"objective": objective, "augmentation": augmentation}}, "/config", why)
        for mode, objective, augmentation, why in (
            ("train", {"method": "cross_view"}, {"strong": 0}, "augmentation.strong must be above 0"),
            ("guide", {"also": [{"method": "cross_view"}]}, {"strong": 0}, "augmentation.strong must be above 0"),
            ("guide", {"method": "cross_view"}, {"mixup": 0.2}, "augmentation.mixup must be 0"),
            ("train", {"method": "cross_view"}, {"cutmix": 1.0}, "both views of a pair are of one image"),
        )
    ),
    (
        {
            "mode": "train",
            "config": {
                "student": {"arch": "torchvision/squeezenet1_1"},
                "objective": {"also": [{"method": "dist"}, {"method": "rkd"}]},
            },
        },
        "/config",
        "objective.also.1.method rkd compares what the classifiers of student and teacher read, and that of the",
    ),
    (
        {"mode": "train", "config": {"objective": {"method": "ofa"}}},
        "/config",
        "objective.method ofa puts heads on the student's stages, and mlp has none: take a student that has (cnn, ",
    ),
    (
        {
            "mode": "train",
            "config": {
                "student": {"arch": "cnn_small"},
                "objective": {"method": "ofa"},
                "augmentation": {"cutmix": 1},
            },
        },
        "/config",
        "objective.method ofa needs one label to an image, and augmentation.cutmix blends two of them",
    ),
    (
        {
            "mode": "train",
            "config": {"student": {"arch": "cnn_small"}, "objective": {"also": [{"method": "fitnet"}]}},
        },
        "/config",
        "objective.also.0.method fitnet compares maps of stages, which are too large for a label table: use mode",
    ),
    (
        {
            "mode": "train",
            "config": {"teacher": {"arch": "cnn"}, "student": {"arch": "cnn"}, "objective": {"method": "reviewkd"}},
        },
        "/config",
        "objective.method reviewkd compares maps of stages, which are too large for a label table: use mode 'guide'",
    ),
    *(
        (
            {
                "mode": "guide",
                "config": {"teacher": {"arch": teacher}, "student": {"arch": student}, "objective": asked},
            },
            "/config",
            why,
        )
        for teacher, student, asked, why in (
            (
                "cnn",
                "mlp",
                {"method": "at"},
                "at compares maps of stages, and the student, mlp, has none: take another",
            ),
            ("torchvision/vit_b_16", "cnn", {"method": "fitnet"}, "and the teacher, torchvision/vit_b_16, has none"),
            (
                "cnn",
                "cnn_small",
                {"method": "at"},
                "cnn_small has 2 of them, cnn has 3: take two with as many, or fitnet",
            ),
            (
                "cnn",
                "mlp",
                {"method": "reviewkd"},
                "reviewkd compares maps of stages, and the student, mlp, has none: take another",
            ),
            (
                "vgg8",
                "resnet20",
                {"method": "reviewkd"},
                "reviewkd compares stage by stage, and resnet20 has 3 of them, vgg8 has 4: take two with as many",
            ),
            ("cnn", "cnn_small", {"method": "fitnet", "stage": 3}, "compares stage 3, and cnn_small has 2 of them"),
        )
    ),
    (
        {"mode": "guide", "config": {"batch_size": 1024, "objective": {"method": "rkd"}}},
        "/config",
        "at most 256 of them: batch_size 1024 needs a gradient_accumulation of at least 4",
    ),
    (
        {
            "mode": "train",
            "config": {"batch_size": 256, "objective": {"method": "cross_view", "also": [{"method": "rkd"}]}},
        },
        "/config",
        "triples of the views at hand, at most 256 of them: batch_size 256 needs a gradient_accumulation of at least 2",
    ),
    (
        {"mode": "guide", "config": {"objective": {"temperature": [2, 4]}, "rounds": {"teacher": "cotrain"}}},
        "/config",
        "objective.temperature must be one number with rounds.teacher 'cotrain'",
    ),
    ({"mode": "train", "config": {"seeds": 33}}, "/config/seeds", "less than or equal to 32"),
    ({"mode": "train", "config": {"control": 1}}, "/config/control", "should be true or false, not 1"),
    ({"mode": "train", "config": {"control": {"optimiser": {}}}}, "/config/control/optimiser", "optimizer"),
    (
        {"mode": "train", "config": {"control": {"optimizer": {"lr": 0}}}},
        "/config/control/optimizer/lr",
        "greater than 0",
    ),
    (
        {"mode": "guide", "config": {"control": False, "baselines": {"label_smoothing": 0.1}}},
        "/config",
        "baselines would do nothing here: it acts only with a control",
    ),
    ({"mode": "guide", "config": {"rounds": {"route": {"anchors": 2}}}}, "/config/rounds", "teacher 'route'"),
    ({"mode": "guide", "config": {"rounds": {"cotrain": {"lr": 0.1}}}}, "/config/rounds", "teacher 'cotrain'"),
    (
        {"mode": "guide", "config": {"epochs": 3, "rounds": {"epochs": 3, "teacher": "cotrain"}}},
        "/config",
        "there is only one; rounds.epochs must be below epochs, which is 3",
    ),
    (
        {"mode": "train", "config": {"objective": {"class_weights": [1.0, 2.0]}}},
        "/config",
        "objective.class_weights must be a number for each of the 10 classes of mnist5k, not 2",
    ),
    (
        {"mode": "train", "config": {"student": {"arch": "resnet18"}}},
        "/config/student/arch",
        "are torchvision/resnet18",
    ),
    ({"mode": "train", "config": {"dataset": "dig"}}, "/config/dataset", "that name would be packed/dig"),
    ({"mode": "train", "config": {"schedule": {"milestones": [1, "2"]}}}, "/config/schedule/milestones/1", "integer"),
    ({"mode": "train", "config": {"dataset": "mnist5"}}, "/config/dataset", "mnist5k"),
    ({"mode": "train", "config": {"dataset": "x" * 100_000}}, "/config/dataset", "at most 200 characters"),
    ({"mode": "train", "config": {"student": {"arch": "resnet21"}}}, "/config/student/arch", "resnet20"),
    ({"mode": "train", "config": {"student": {"arch": "mlp_9000"}}}, "/config/student/arch", "mlp_<width>x<layers>"),
    ({"mode": "train", "config": {"teacher": {"arch": "../../etc/passwd"}}}, "/config/teacher/arch", "no model named"),
    ({"mode": "train", "config": {}, "name": ""}, "/name", "at least 1 character"),
    ({"mode": "train", "config": {}, "name": "x" * 201}, "/name", "at most 200 characters"),
    ({"mode": "train", "config": {}, "name": "a\x00b"}, "/name", "control characters"),
    ({"mode": "train", "config": {}, "name": "a\nb"}, "/name", "control characters"),
    ({"mode": "train", "config": {}, "priority": 101}, "/priority", "less than or equal to 100"),
    ({"mode": "train", "config": {}, "labels": {f"k{n}": "" for n in range(33)}}, "/labels", "32"),
    ({"mode": "train", "config": {}, "labels": {"-": ""}}, "/labels/-", "key"),
    ({"mode": "train", "config": {}, "labels": {"k": "x" * 256}}, "/labels/k", "255"),
    ({"mode": "train", "config": {}, "labels": {"k": 1}}, "/labels/k", "string"),
]


@pytest.mark.parametrize(("body", "pointer", "words"), BAD_BODIES, ids=lambda value: str(value)[:60])
def test_a_wrong_field_is_refused_with_its_place_and_the_reason(
    lone_client: TestClient, problem_in: Any, body: Any, pointer: str, words: str
) -> None:
    answer = lone_client.post("/jobs", content=json.dumps(body), headers=JSON)

    problem = problem_in(answer, 422, "invalid")
    assert [(fault["in"], fault["pointer"]) for fault in problem["errors"]] == [("body", pointer)]
    assert words in problem["errors"][0]["message"]
    assert words in problem["detail"]


def test_a_job_may_name_a_packed_data_set_that_is_there(lone_client: TestClient, packed: Any) -> None:
    packed("pets", 32)

    answer = lone_client.post("/jobs", json={"mode": "train", "config": {"dataset": "packed/pets"}})

    assert answer.status_code == 201
    assert answer.json()["resolved_spec"]["config"]["augmentation"]["crop_padding"] == 0


def test_a_packed_data_set_that_is_not_there_is_refused_with_the_nearest_ones(
    lone_client: TestClient, problem_in: Any, packed: Any
) -> None:
    def fault(name: str) -> str:
        answer = lone_client.post("/jobs", json={"mode": "guide", "config": {"dataset": name}})
        (found,) = problem_in(answer, 422, "invalid")["errors"]
        assert found["pointer"] == "/config/dataset"
        return str(found["message"])

    assert "no packed one at all; `kd pack` makes one" in fault("packed/pest")
    packed("pets", 32)
    packed("birds", 32)
    assert fault("packed/pest").startswith("there is no data set named 'packed/pest'; the nearest are packed/pets")
    assert "a packed data set is named packed/ and 1 to 64 of" in fault("packed/../pets")


def test_a_packed_data_set_that_is_damaged_or_too_small_for_the_crops_is_refused(
    lone_client: TestClient, lone_app: FastAPI, problem_in: Any, packed: Any
) -> None:
    packed("pets", 8)
    config = {"dataset": "packed/pets", "augmentation": {"crop_padding": 5, "flip": True}}

    small = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config}), 422, "invalid")
    (lone_app.state.settings.data_dir / "datasets/packed/pets/facts.json").write_text("{}")
    damaged = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config}), 422, "invalid")

    assert small["errors"][0]["pointer"] == "/config/augmentation/crop_padding"
    assert "must be at most 4, half of the side of an image of packed/pets" in small["detail"]
    assert damaged["errors"][0]["pointer"] == "/config/dataset"
    assert "datasets/packed/pets/facts.json is damaged (classes: Field required)" in damaged["detail"]
    assert str(lone_app.state.settings.data_dir) not in str(damaged)


def test_what_the_facts_of_a_packed_data_set_already_tell_is_told_at_once(
    lone_client: TestClient, problem_in: Any, packed: Any
) -> None:
    packed("glass", 32, channels=4, validation=3)
    config = {
        "dataset": "packed/glass",
        "validation_fraction": 0.2,
        "teacher": {"arch": "torchvision/resnet34"},
        "student": {"arch": "torchvision/resnet18"},
        "objective": {"class_weights": [1.0, 2.0, 3.0]},
    }

    problem = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config}), 422, "invalid")

    told = {fault["pointer"]: fault["message"] for fault in problem["errors"]}
    assert "takes images of 1 or 3 channels, those of packed/glass have 4" in told["/config/student/arch"]
    assert set(told) == {
        "/config/teacher/arch",
        "/config/student/arch",
        "/config/objective/class_weights",
        "/config/validation_fraction",
    }


def test_settings_at_their_defaults_may_be_said_where_they_do_nothing(lone_client: TestClient) -> None:
    first = lone_client.post("/jobs", json={"mode": "guide", "config": {"optimizer": {"name": "adamw"}}}).json()

    again = lone_client.post("/jobs", json=first["resolved_spec"])

    assert again.status_code == 201
    assert again.json()["resolved_spec"] == first["resolved_spec"]


def test_what_was_accepted_by_a_version_before_is_read_all_the_same() -> None:
    waits = {"mode": "train", "config": {"optimizer": {"name": "adamw", "momentum": 0.5}, "schedule": {"gamma": 0.5}}}

    with pytest.raises(ValidationError):
        parse(waits)
    assert parse(waits, accepted=True).config.optimizer.momentum == 0.5


def test_batches_that_the_data_set_cannot_fill_are_refused(lone_client: TestClient, problem_in: Any) -> None:
    config = {"dataset": "digits", "batch_size": 8192, "gradient_accumulation": 1000}

    problem = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config}), 422, "invalid")

    assert "gradient_accumulation asks for 2000 images in a batch, two for each piece" in problem["detail"]


def test_a_body_may_begin_with_the_mark_that_windows_editors_leave(lone_client: TestClient) -> None:
    body = codecs.BOM_UTF8 + json.dumps({"mode": "train", "config": {}}).encode()

    assert lone_client.post("/jobs", content=body, headers=JSON).status_code == 201


def test_every_problem_is_named_at_once(lone_client: TestClient, problem_in: Any) -> None:
    config = {"epochs": 0, "views": "some", "seed": -1, "student": {"arch": "mpl"}}

    problem = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config, "nam": "x"}), 422)

    pointers = {fault["pointer"] for fault in problem["errors"]}
    assert pointers == {"/config/epochs", "/config/views", "/config/seed", "/config/student/arch", "/nam"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused_where_it_stands(
    lone_client: TestClient, problem_in: Any, number: str
) -> None:
    body = '{"mode": "train", "config": {"optimizer": {"lr": ' + number + "}}}"

    problem = problem_in(lone_client.post("/jobs", content=body, headers=JSON), 422)

    assert problem["errors"][0]["pointer"] == "/config/optimizer/lr"


NOT_JSON: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b"  \n", "empty"),
    (b"{", "line 1 column 1"),
    (b'{"mode": "train", "config": {}} x', "trailing"),
    (b"{'mode': 'train'}", "line 1 column 2"),
    (b"\xff\xfe{}", "line 1 column 1"),
    (b'{"mode": "\xff"}', "unicode"),
    (b'{"mode": "\\ud800"}', "escape"),
    (b"[" * 100_000, "recursion"),
    (b'{"a":' * 100_000, "recursion"),
    (b'{"mode": "train", "config": {}, "priority": ' + b"9" * 5_000 + b"}", "out of range"),
    (b'{"mode": "train", "mode": "guide", "config": {}}', '"mode" occurs twice'),
    (b'{"mode": "train", "config": {"epochs": 1, "epochs": 900}}', '"epochs" occurs twice'),
]


@pytest.mark.parametrize(("body", "words"), NOT_JSON, ids=lambda value: str(value)[:40])
def test_what_is_not_json_is_refused_with_the_position(
    lone_client: TestClient, problem_in: Any, body: bytes, words: str
) -> None:
    answer = lone_client.post("/jobs", content=body, headers=JSON)

    problem = problem_in(answer, 400, "not_json")
    assert problem["errors"][0]["pointer"] == ""
    assert words in problem["detail"]


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
def test_another_content_type_is_refused(lone_client: TestClient, problem_in: Any, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}

    answer = lone_client.post("/jobs", content=b'{"mode": "train", "config": {}}', headers=headers)

    problem = problem_in(answer, 415, "wrong_content_type")
    assert "application/json" in problem["detail"]


def test_bad_input_stores_nothing(client: TestClient) -> None:
    for body, _, _ in BAD_BODIES:
        assert client.post("/jobs", content=json.dumps(body), headers=JSON).status_code == 422
    for raw, _ in NOT_JSON:
        assert client.post("/jobs", content=raw, headers=JSON).status_code == 400

    assert client.get("/jobs").json()["data"] == []


def test_a_flood_of_unknown_fields_gets_a_short_answer(lone_client: TestClient, problem_in: Any) -> None:
    body = {"mode": "train", "config": {f"k{n}": 0 for n in range(50_000)}}

    answer = lone_client.post("/jobs", json=body)

    assert problem_in(answer, 422)["errors"][-1]["message"] == "has 49950 more problems"
    assert len(answer.content) < 50_000


# -- fuzz -------------------------------------------------------------------------------------------------

NAMES = ["mode", "config", "name", "labels", "priority", "epochs", "teacher", "student", "arch", "views", "rounds"]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(["train", "guide"])
)
KEYS = st.sampled_from(NAMES) | st.text(max_size=10)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=20
)
ALMOST_JOBS = st.builds(
    lambda mode, config, more: {**more, "mode": mode, "config": config},
    st.sampled_from(["train", "guide", "other"]),
    st.dictionaries(KEYS, ANY_JSON, max_size=5),
    st.dictionaries(KEYS, ANY_JSON, max_size=3),
)


@fuzz(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=ALMOST_JOBS | ANY_JSON)
def test_no_json_at_all_breaks_the_server(lone_client: TestClient, body: Any) -> None:
    answer = lone_client.post("/jobs", content=json.dumps(body), headers=JSON)

    assert answer.status_code in (201, 400, 422)
    if answer.status_code == 422:
        assert answer.json()["errors"]


@fuzz(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_at_all_break_the_server(lone_client: TestClient, body: bytes) -> None:
    answer = lone_client.post("/jobs", content=body, headers=JSON)

    assert answer.status_code in (400, 422)
