"""``make test-containers``: the images from the project's recipe with podman, and the demo in them.

Storage and base image are kept in ``.suites/containers/storage``; without that folder everything is built anew.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.utils import canonicalize_name

from engines.suite import PROJECT, RECORDS, Case, run_suite, undisturbed
from helpers_pipeline import launch_config, run_pipeline, same_tables

#: settings of podman that a machine without systemd requires
CONTAINERS_CONF = """
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=2048:2048"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
NEEDED = ["podman", "runc", "debootstrap", "ch-run", "ch-convert"]
BASE = "localhost/scfmbench/base:test"
#: images that the runs below use, and the one with R; --all builds the others too
IMAGES = ["core", "harmony", "report", "scvi", "seurat"]
#: prints the version of Seurat that an image with R has
SEURAT = 'cat(as.character(packageVersion("Seurat")))'
#: why an image of the recipe is not built
HEAVY = "scVI's PyTorch with its CUDA libraries once more, several GB"
NOT_BUILT = {"models": HEAVY, "expression": HEAVY, "gpu_scores": HEAVY}
LEFT_OUT = "a method's packages by the same recipe; --all builds it"
#: the demo's methods that have one of these images
DEMO = ["--methods", "pca,harmony,scvi"]
#: a part of it, for further ways to run the same images and for --quick
RUN = ["--methods", "pca,harmony", "--controls", "none", "--corrections", "l2", "--skip_probing"]


class Cases:
    """Cases on one storage of images, which is kept from run to run.

    Parameters
    ----------
    scratch
        Folder for runs.
    options
        Options of the demo in containers.
    """

    def __init__(self, scratch: Path, options: list[str]) -> None:
        self.scratch, self.options = scratch, options
        storage = RECORDS / "containers" / "storage"
        storage.mkdir(parents=True, exist_ok=True)
        (storage / "containers.conf").write_text(CONTAINERS_CONF)
        (storage / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n'
        )
        self.extra = {
            "CONTAINERS_CONF": str(storage / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(storage / "storage.conf"),
            "ENGINE": "podman",
            "BASE": BASE,
            "BUILD_OPTIONS": "--network=host --isolation=chroot",
        }

    def base(self, folder: Path) -> str:
        """A base image from the distribution's packages, with the certificates and registries of this machine."""
        if self._call("podman", "images", "--quiet", BASE).strip():
            return f"{self._size(BASE)} MB, of an earlier run"
        root = folder / "root"
        packages = "python3,python3-venv,python3-dev,ca-certificates,procps"
        source = (Path("/etc/apt/sources.list.d/debian.sources")).read_text()
        mirror = next(line.split()[1] for line in source.splitlines() if line.startswith("URIs:"))
        self._call("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root, mirror)
        for name in (
            "etc/ssl/certs/ca-certificates.crt",
            "etc/pip.conf",
            "etc/apt/apt.conf.d",
            "etc/apt/sources.list.d",
        ):
            here, there = Path("/") / name, root / name
            if here.is_dir():
                shutil.copytree(here, there, dirs_exist_ok=True)
            elif here.exists():
                shutil.copy2(here, there)
        archive = folder / "base.tar"
        self._call("tar", "-C", root, "-cf", archive, ".")
        self._call("podman", "import", archive, BASE)
        shutil.rmtree(root)
        return f"{self._size(BASE)} MB"

    def build(self, image: str, _: Path) -> str:
        """Build an image from the recipe of the project and compare what is in it with the lock."""
        self._call("bash", PROJECT / "scripts" / "build_images.sh", "images", image)
        self._call("podman", "image", "prune", "--force")  # the build stage is as large as the image
        name = self._name(image)
        found = _versions(self._call("podman", "run", "--rm", name, "python", "-m", "pip", "list", "--format=freeze"))
        lock = _versions((PROJECT / "requirements" / "all.txt").read_text())
        others = {package: version for package, version in found.items() if lock.get(package) != version}
        others.pop("pip")  # of the base image
        assert not others, others
        user = self._call("podman", "run", "--rm", name, "id", "-u").strip()
        assert user == "1000", user
        more = ""
        if image == "seurat":
            version = self._call("podman", "run", "--rm", name, "Rscript", "--vanilla", "-e", SEURAT).strip()
            assert version.startswith("4.3."), version
            more = f" and Seurat {version}"
        return f"{len(found)} packages, all in the lock{more}; {self._size(name)} MB; runs as uid {user}"

    def demo(self, _: Path) -> str:
        """The demo with -profile test,podman: tables equal those of a run without containers."""
        run = run_pipeline(
            self.scratch / "podman", "-profile", "test,podman", *self.options, extra=self.extra, timeout=3000
        )
        assert run.status == 0, run.log
        same_tables(undisturbed(*self.options), run)
        return f"{len(run.trace())} tasks in containers; the same tables"

    def other_user(self, folder: Path) -> str:
        """Containers with a read-only root, no home and a user of their own that owns nothing but the work folder."""
        options = "podman.runOptions = '--read-only --read-only-tmpfs=false --user 4321:4321 --env HOME=/nonexistent'"
        (folder / "nextflow.config").write_text(
            launch_config("test,podman", options, "process.beforeScript = 'chmod 777 .'")
        )
        run = run_pipeline(folder, "-profile", "test,podman", *RUN, parser="v1", extra=self.extra, timeout=3000)
        assert run.status == 0, run.log
        same_tables(undisturbed(*RUN), run)
        return f"{len(run.trace())} tasks of a foreign uid on a read-only root; the same tables"

    def charliecloud(self, folder: Path) -> str:
        """A part of the demo with charliecloud, on images converted from those of podman."""
        images = folder / "images"
        (images / "img").mkdir(parents=True)
        (images / "dlcache").mkdir()
        for image in ("core", "harmony", "report"):
            name = self._name(image)
            target = images / "img" / name.replace("/", "%").replace(":", "+")
            self._call("ch-convert", "-i", "podman", "-o", "dir", name, target)
        extra = self.extra | {"NXF_CHARLIECLOUD_CACHEDIR": str(images), "USER": "root"}
        run = run_pipeline(folder / "run", "-profile", "test,charliecloud", *RUN, extra=extra, timeout=3000)
        assert run.status == 0, run.log
        same_tables(undisturbed(*RUN), run)
        return f"{len(run.trace())} tasks; the same tables"

    def recipe(self) -> list[str]:
        """Names of all images of the recipe."""
        listed = self._call("bash", PROJECT / "scripts" / "build_images.sh", "list")
        return [line.split("\t")[0] for line in listed.splitlines()]

    def _name(self, image: str) -> str:
        version = re.search(r"^ +version += '(.+)'$", (PROJECT / "nextflow.config").read_text(), re.MULTILINE)
        assert version is not None
        return f"ghcr.io/scfmbench/{image}:{version[1]}"

    def _size(self, name: str) -> int:
        return int(self._call("podman", "image", "inspect", "--format", "{{.Size}}", name)) // 10**6

    def _call(self, *words: str | Path) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            env=os.environ | self.extra,
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
        )
        assert done.returncode == 0, f"{words[0]} {words[1]}: {(done.stdout + done.stderr)[-1500:]}"
        return done.stdout


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="two methods without probing in containers")
    parser.add_argument("--all", action="store_true", help="build every image of the recipe")
    args = parser.parse_args()
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent or os.geteuid() != 0:
        print(f"test-containers: requires root and {' '.join(NEEDED)}; missing: {' '.join(absent) or 'root'}.")
        return 2
    with tempfile.TemporaryDirectory(prefix="scfm-containers-") as scratch:
        cases = Cases(Path(scratch), RUN if args.quick else DEMO)
        table: dict[str, Case] = {"base image": cases.base}
        built = cases.recipe() if args.all else IMAGES
        for image in built:
            table[f"image {image}"] = _case(cases, image)
        table |= {"podman": cases.demo, "podman as another user": cases.other_user, "charliecloud": cases.charliecloud}
        for image in cases.recipe():
            if image not in built:
                print(f"not built: {image} ({NOT_BUILT.get(image, LEFT_OUT)})", flush=True)
        return run_suite("containers", table, Path(scratch) / "cases", only=args.only)


def _versions(text: str) -> dict[str, str]:
    """Return version by normalised name of lines such as ``Name==1.0``."""
    lines = (line.strip().split("==") for line in text.splitlines() if "==" in line)
    return {canonicalize_name(name): version for name, version in lines}


def _case(cases: Cases, image: str) -> Case:
    def case(folder: Path) -> str:
        return cases.build(image, folder)

    case.__doc__ = cases.build.__doc__
    return case


if __name__ == "__main__":
    sys.exit(main())
