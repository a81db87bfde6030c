"""A file is there whole or not at all."""

from kd import disk


def test_writers_of_one_file_never_trip_over_each_other(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    def write(number: int) -> None:
        with disk.atomic(tmp_path / "table") as file:
            file.write(bytes([number]) * 100_000)

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(write, range(64)))

    assert len(set((tmp_path / "table").read_bytes())) == 1, "one writer's bytes, whole"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]
