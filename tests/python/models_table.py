"""Print one table: model, release, largest absolute difference from the official code. ``make test-models`` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "bin"), str(Path(__file__).resolve().parent)]

from models_contract import TOLERANCE, all_cases, run_golden  # noqa: E402 (the path comes first)


def main() -> int:
    """Return 1 when a release is further away than the tolerance or has other tokens."""
    outcomes = [run_golden(cases, golden) for cases in all_cases() for golden in cases.golden]
    width = max(len(o.release) for o in outcomes)
    sys.stdout.write(f"{'model':<14}{'release':<{width + 2}}{'max abs difference':>18}  tokens\n")
    wrong = 0
    for o in outcomes:
        tokens = {None: "-", True: "equal"}.get(o.tokens_equal, f"UNEQUAL: {', '.join(o.unequal)}")
        bad = not o.difference <= TOLERANCE or o.tokens_equal is False
        wrong += bad
        sys.stdout.write(
            f"{o.model:<14}{o.release:<{width + 2}}{o.difference:>18.2e}  {tokens}{'  <-- FAILS' if bad else ''}\n"
        )
    sys.stdout.write(f"{len(outcomes) - wrong} of {len(outcomes)} releases within {TOLERANCE:g}, tokens exact\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
