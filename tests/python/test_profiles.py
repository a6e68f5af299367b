"""Every profile is read by both parsers, and those of clouds name their executor for every process."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from helpers_pipeline import PROJECT, environment
from helpers_profiles import stub_of_cloud

pytestmark = pytest.mark.pipeline
CLOUDS = {"awsbatch": "awsbatch", "google_batch": "google-batch", "azurebatch": "azurebatch", "k8s": "k8s"}


def _profiles() -> list[str]:
    text = (PROJECT / "nextflow.config").read_text()
    part = text[text.index("\nprofiles {") : text.index("\n}\n", text.index("\nprofiles {"))]
    # wave: Nextflow loads its plugin as soon as it is enabled, and no plugin can be had offline
    return [name for name in re.findall(r"^    (\w+) \{", part, re.MULTILINE) if name != "wave"]


def _config(profile: str, parser: str) -> str:
    """Return what Nextflow makes of the configuration, a setting a line."""
    done = subprocess.run(
        ["nextflow", "config", "-flat", "-profile", profile, str(PROJECT)],
        env=environment() | {"NXF_SYNTAX_PARSER": parser},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_profile_sets_where_tasks_run_and_which_get_a_gpu() -> None:
    text = _config("slurm,gpu", "v2")
    assert "process.executor = 'slurm'" in text
    assert "process.'withName:SCVI'.accelerator = 1" in text
    assert "FIND_NEIGHBORS'.accelerator" not in text
    text = _config("gpu_scores", "v2")
    assert "process.'withName:FIND_NEIGHBORS'.accelerator = 1" in text
    assert "process.'withName:FIND_NEIGHBORS'.container = 'scfmbench/gpu_scores:0.1.0'" in text
    assert "SCVI'.accelerator" not in text


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_all_profiles_at_once_are_read_by_both_parsers(parser: str) -> None:
    """Every block is evaluated in one call; each alone is a slow test."""
    text = _config(",".join(_profiles()), parser)
    assert all(f"{engine}.enabled = true" in text for engine in ("docker", "singularity", "charliecloud", "conda"))


def test_a_stub_run_of_a_cloud_shares_no_folder_and_names_its_images(tmp_path: Path) -> None:
    """The default parser; the other clouds and the other parser are in ``make test-profiles``."""
    run, images = stub_of_cloud("awsbatch", "v1", tmp_path / "run")
    assert "models" in images and not any(path.is_symlink() for path in run.outdir.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["v1", "v2"])
@pytest.mark.parametrize("profile", _profiles())
def test_every_profile_is_read_by_both_parsers(profile: str, parser: str) -> None:
    text = _config(profile, parser)
    if profile in CLOUDS:
        assert f"process.executor = '{CLOUDS[profile]}'" in text
        assert f"process.'withName:FETCH_DATASET'.executor = '{CLOUDS[profile]}'" in text
        assert "docker.enabled = true" in text


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["test,slurm", "slurm,test"])
def test_the_order_of_profiles_that_set_limits_does_not_matter(profile: str) -> None:
    assert re.search(r"process\.resourceLimits = \[.*memory:'?3", _config(profile, "v1"))
