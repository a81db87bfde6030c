"""An architecture that a package registers, through the whole worker: its trainers import it, and it does not."""

import sys

from tests.support.databases import ON_ONE_DATABASE
from tests.support.models.installed import install


@ON_ONE_DATABASE
def test_a_job_with_an_architecture_of_an_installed_package_runs(
    worker, submit, wait_for, tiny, tmp_path, monkeypatch, settings
):
    site = str(install(tmp_path / "site", {"tiny": "tiny"}, package="models-of-mine"))
    monkeypatch.syspath_prepend(site)  # installed for this process, and for what it starts
    monkeypatch.setenv("PYTHONPATH", site)

    job = wait_for(submit(tiny(student={"arch": "own/tiny"}, epochs=1, control=False)))

    assert job.state == "succeeded", job.error
    assert job.result["metrics"]["student.parameters"] == 1_386
    assert "models_of_mine" not in sys.modules
