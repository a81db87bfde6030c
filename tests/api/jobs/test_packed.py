"""POST /jobs with a packed data set: what its facts already tell is told at once."""

from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient


def test_a_job_may_name_a_packed_data_set_that_is_there(lone_client: TestClient, packed: Any) -> None:
    packed("pets", 32)

    answer = lone_client.post("/jobs", json={"mode": "train", "config": {"dataset": "packed/pets"}})

    assert answer.status_code == 201
    assert answer.json()["resolved_spec"]["config"]["augmentation"]["crop_padding"] == 0


def test_the_recipe_suits_the_images_and_classes_of_a_packed_data_set(lone_client: TestClient, packed: Any) -> None:
    packed("few", 28, train=6_000, classes=10)
    packed("many", 28, train=100_000, classes=100)

    def asked(name: str, path: str, body: dict[str, Any]) -> tuple[str, int, list[str]]:
        answer = lone_client.post(path, json=body | {"config": {"dataset": f"packed/{name}"}})
        if path == "/sweeps":
            answer = lone_client.get(f"/jobs/{answer.json()['members'][0]['job_id']}")
        config = answer.json()["resolved_spec"]["config"]
        return answer.json()["id"], config["epochs"], [config["objective"]["method"], *config["objective"]["also"]]

    def preset(name: str) -> int:
        presets = lone_client.get("/presets", params={"dataset": f"packed/{name}"}).json()["data"]
        return next(int(one["config"]["epochs"]) for one in presets if one["is_auto"])

    sweep = {"mode": "train", "space": {"config.seed": {"grid": [1, 2]}}}
    assert [asked(name, "/jobs", {"mode": "train"})[1] for name in ("few", "many")] == [83, 30]
    assert [asked(name, "/sweeps", sweep)[1] for name in ("few", "many")] == [83, 30]
    assert [preset(name) for name in ("few", "many")] == [83, 30]
    job, _, few = asked("few", "/jobs", {"mode": "guide"})
    assert few == ["kd"]
    assert len(asked("many", "/jobs", {"mode": "guide"})[2]) == 2, "of many classes their order counts as well"

    lone_client.post(f"/jobs/{job}/cancel")
    again = lone_client.post(f"/jobs/{job}/retry", json={"patch": {"config": {"recipe": "best"}}}).json()
    assert again["resolved_spec"]["config"]["epochs"] == 300


def test_a_packed_data_set_that_is_not_there_is_refused_with_the_nearest_ones(
    lone_client: TestClient, problem_in: Any, packed: Any
) -> None:
    def fault(name: str) -> str:
        answer = lone_client.post("/jobs", json={"mode": "guide", "config": {"dataset": name}})
        (found,) = problem_in(answer, 422, "invalid")["errors"]
        assert found["pointer"] == "/config/dataset"
        return str(found["message"])

    assert "no packed one at all; `kd data add` makes one" in fault("packed/pest")
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
    assert damaged["detail"].endswith("datasets/packed/pets/facts.json is damaged (classes: Field required).")
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
