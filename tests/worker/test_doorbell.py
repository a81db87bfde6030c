"""A ring, and nobody to ask for the job."""

import pytest


def test_a_ring_while_the_database_is_away_is_no_error_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("STILLHOUSE_BROKER_URL", "redis://127.0.0.1:1/0")
    from worker import celery_app, loop

    away = f"postgresql://nobody@/x?host={tmp_path}"
    settings = celery_app.settings.model_copy(update={"data_dir": tmp_path, "database_url": away, "standby": False})
    monkeypatch.setattr(celery_app, "worker", loop.make_worker(settings))

    celery_app.run_job("job_01J00000000000000000000000")  # Celery would log a traceback of whatever it raised
