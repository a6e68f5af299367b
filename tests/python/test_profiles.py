"""Every profile is read by both parsers, and those of clouds name their executor for every process."""

from __future__ import annotations

import re
import subprocess

import pytest

from helpers_pipeline import PROJECT, environment

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


@pytest.mark.parametrize("profile", ["slurm,gpu", pytest.param("awsbatch,test", marks=pytest.mark.slow)])
def test_profiles_set_where_tasks_run(profile: str) -> None:
    text = _config(profile, "v2")
    assert f"process.executor = '{profile.split(',', maxsplit=1)[0]}'" in text
    assert ("accelerator" in text.replace("task.accelerator", "")) == ("gpu" in profile)


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
