"""Print one table: model, release, largest absolute difference from the official code. ``make test-models`` runs it.

With ``--precision bf16`` there is no tolerance: the lowest cosine of a row tells how far it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "bin"), str(Path(__file__).resolve().parent)]

from models_contract import TOLERANCE, all_cases, run_golden  # noqa: E402 (the path comes first)


def main() -> int:
    """Return 1 when a release is further away than the tolerance or has other tokens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    args = parser.parse_args()
    tolerance = TOLERANCE if args.precision == "fp32" else float("inf")
    how = {"device": args.device, "precision": args.precision}
    outcomes = [run_golden(cases, golden, **how) for cases in all_cases() for golden in cases.golden]
    width = max(len(o.release) for o in outcomes)
    sys.stdout.write(f"{'model':<14}{'release':<{width + 2}}{'max abs difference':>18}{'lowest cosine':>15}  tokens\n")
    wrong = 0
    for o in outcomes:
        tokens = {None: "-", True: "equal"}.get(o.tokens_equal, f"UNEQUAL: {', '.join(o.unequal)}")
        bad = not o.difference <= tolerance or o.tokens_equal is False
        wrong += bad
        sys.stdout.write(
            f"{o.model:<14}{o.release:<{width + 2}}{o.difference:>18.2e}{o.cosine:>15.9f}"
            f"  {tokens}{'  <-- FAILS' if bad else ''}\n"
        )
    sys.stdout.write(f"{len(outcomes) - wrong} of {len(outcomes)} releases within {tolerance:g}, tokens exact\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
