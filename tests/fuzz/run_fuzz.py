"""``make fuzz``: every kind of input for a bounded time, each in a process of its own; what fails is kept as a file.

An input that failed is run again by ``python -m fuzz.run_fuzz --target NAME --again FILE``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / ".suites" / "fuzz"
TARGETS = ["samplesheet", "params", "model_options", "recipe", "sidecar", "h5ad_structure"]


def main() -> int:
    """Run every target, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=TARGETS, help="one of them, in this process")
    parser.add_argument("--seconds", type=int, default=60, help="time of a target")
    parser.add_argument("--again", type=Path, help="file of an input that failed")
    args = parser.parse_args()
    if args.target:
        return run_target(args.target, args.seconds, args.again)
    failed = []
    for name in TARGETS:
        done = subprocess.run(
            [sys.executable, "-m", "fuzz.run_fuzz", "--target", name, "--seconds", str(args.seconds)], check=False
        )
        if done.returncode != 0:
            failed.append(name)
    print(f"fuzz: {len(TARGETS) - len(failed)} of {len(TARGETS)} kinds of input without a failure in {args.seconds} s")
    for name in failed:
        print(f"fuzz: {name} failed; its inputs are in {FOLDER / name}")
    return 1 if failed else 0


def run_target(name: str, seconds: int, again: Path | None) -> int:
    """Let atheris choose inputs; it ends the process itself.

    Parameters
    ----------
    name
        Target.
    seconds
        Time, without the imports.
    again
        Run this input only.
    """
    import atheris

    with atheris.instrument_imports(include=["scfm"]):
        from fuzz import targets

        _import_steps()
    corpus = FOLDER / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)

    def of_bytes(content: bytes) -> None:
        targets.BYTES[name][0](content)

    def of_structure(content: bytes) -> None:
        data = atheris.FuzzedDataProvider(content)
        targets.h5ad_structure(lambda n: data.ConsumeIntInRange(0, n - 1))

    if name in targets.BYTES:
        for i, content in enumerate(targets.BYTES[name][1]):
            (corpus / f"seed{i:02d}").write_bytes(content)
    options = [f"-max_total_time={seconds}", "-timeout=60", "-rss_limit_mb=4096", "-max_len=4096", "-verbosity=1"]
    options += [f"-artifact_prefix={FOLDER / name}/", str(again or corpus)]
    atheris.Setup([sys.argv[0], *options], of_bytes if name in targets.BYTES else of_structure)
    atheris.Fuzz()
    return 0


def _import_steps() -> None:
    """Import what the targets run, so that atheris sees which branches an input takes."""
    import logging
    import warnings

    import apply_recipe  # noqa: F401
    import check_inputs  # noqa: F401
    import prepare_dataset  # noqa: F401
    import validate_embedding  # noqa: F401

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    sys.exit(main())
