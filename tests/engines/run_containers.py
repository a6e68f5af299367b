"""``make test-containers``: the images from the project's recipe with podman, and the demo in them."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from engines.suite import PROJECT, RECORDS, Case, run_suite
from helpers_pipeline import Run, run_pipeline, same_tables

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
#: enough for the runs below; the models' image is the recipe of scVI's with other names, several GB of the same PyTorch
IMAGES = ["core", "harmony", "report", "scvi"]
RUN = ["--methods", "pca,harmony", "--controls", "none", "--corrections", "l2", "--skip_probing"]


class Cases:
    """Cases on one storage of images, which is kept from run to run.

    Parameters
    ----------
    scratch
        Folder for runs.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
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
        self._reference: Run | None = None

    def base(self, folder: Path) -> str:
        """A base image from the distribution's packages, with the certificates and registries of this machine."""
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
        name = self._name(image)
        listed = self._call("podman", "run", "--rm", name, "python", "-m", "pip", "list", "--format=freeze")
        found = dict(line.lower().split("==") for line in listed.splitlines() if "==" in line)
        lock = dict(
            line.lower().split("==")
            for line in (PROJECT / "requirements" / "all.txt").read_text().splitlines()
            if "==" in line
        )
        others = {package: version for package, version in found.items() if lock.get(package, version) != version}
        assert not others, others
        missing = set(found) - set(lock) - {"pip", "setuptools"}
        assert not missing, missing
        user = self._call("podman", "run", "--rm", name, "id", "-u").strip()
        assert user == "1000", user
        return f"{len(found)} packages, all in the lock; {self._size(name)} MB; runs as uid {user}"

    def demo(self, _: Path) -> str:
        """The demo with -profile test,podman: tables equal those of a run without containers."""
        run = run_pipeline(self.scratch / "podman", "-profile", "test,podman", *RUN, extra=self.extra, timeout=3000)
        assert run.status == 0, run.log
        same_tables(self.reference(), run)
        return f"{len(run.trace())} tasks in containers; the same tables"

    def other_user(self, _: Path) -> str:
        """Containers with a read-only root, no home and a user of their own that owns nothing but the work folder."""
        folder = self.scratch / "reader"
        folder.mkdir()
        (folder / "nextflow.config").write_text(
            "podman.runOptions = '--read-only --read-only-tmpfs=false --user 4321:4321 --env HOME=/nonexistent'\n"
            "process.beforeScript = 'chmod 777 .'\n"
        )
        run = run_pipeline(folder, "-profile", "test,podman", *RUN, extra=self.extra, timeout=3000)
        assert run.status == 0, run.log
        same_tables(self.reference(), run)
        return "a foreign uid on a read-only root; the same tables"

    def charliecloud(self, folder: Path) -> str:
        """The demo with charliecloud, on images converted from those of podman."""
        images = folder / "images"
        images.mkdir()
        for image in ("core", "harmony", "report"):
            name = self._name(image)
            archive = folder / f"{image}.tar"
            self._call("podman", "save", "-o", archive, name)
            self._call(
                "ch-convert", "-i", "tar", "-o", "dir", self._flat(name, folder), images / name.replace("/", "+")
            )
            archive.unlink()
        extra = self.extra | {"NXF_CHARLIECLOUD_CACHEDIR": str(images), "USER": "root"}
        run = run_pipeline(folder, "-profile", "test,charliecloud", *RUN, extra=extra, timeout=3000)
        assert run.status == 0, run.log
        same_tables(self.reference(), run)
        return "the same tables"

    def reference(self) -> Run:
        """The same run without containers."""
        if self._reference is None:
            self._reference = run_pipeline(self.scratch / "reference", "-profile", "test", *RUN)
            assert self._reference.status == 0, self._reference.log
        return self._reference

    def _flat(self, name: str, folder: Path) -> Path:
        """Write the file system of an image as one tar."""
        container = self._call("podman", "create", name).strip()
        archive = folder / "flat.tar"
        self._call("podman", "export", "-o", archive, container)
        self._call("podman", "rm", container)
        return archive

    def _name(self, image: str) -> str:
        text = (PROJECT / "nextflow.config").read_text()
        version = next(line.split("'")[1] for line in text.splitlines() if line.strip().startswith("version  "))
        return f"ghcr.io/scfmbench/{image}:{version}"

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
    only = parser.parse_args().only
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent or os.geteuid() != 0:
        print(f"test-containers: requires root and {' '.join(NEEDED)}; missing: {' '.join(absent) or 'root'}.")
        return 2
    with tempfile.TemporaryDirectory(prefix="scfm-containers-") as scratch:
        cases = Cases(Path(scratch))
        table: dict[str, Case] = {"base image": cases.base}
        for image in IMAGES:
            table[f"image {image}"] = _case(cases, image)
        table |= {"podman": cases.demo, "podman as another user": cases.other_user, "charliecloud": cases.charliecloud}
        return run_suite("containers", table, Path(scratch) / "cases", only=only)


def _case(cases: Cases, image: str) -> Case:
    def case(folder: Path) -> str:
        return cases.build(image, folder)

    case.__doc__ = cases.build.__doc__
    return case


if __name__ == "__main__":
    sys.exit(main())
