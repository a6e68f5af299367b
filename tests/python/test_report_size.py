"""The size of a large report: three data sets of thirty embeddings each."""

from __future__ import annotations

import pytest

from helpers_large import large_datasets, write_large_run
from helpers_report import ASSETS, collected
from scfm.report.build import build_modules
from scfm.report.page.mqc import write_modules


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """All chapters of the large run."""
    root = tmp_path_factory.mktemp("large")
    return build_modules(collected(write_large_run(root / "run"), root / "tables"))


def test_the_large_run_has_thirty_embeddings_of_three_data_sets(modules) -> None:
    figures = [s for m in modules if m.key == "figure" for s in m.sections]
    assert [s.dataset for s in figures] == list(large_datasets())
    status = [s for m in modules if m.key == "trust" for s in m.sections if s.key.endswith("_status")]
    assert [s.data.count('<th scope="row">') for s in status] == [30, 30, 30]


def test_the_page_stays_below_five_megabytes(modules, tmp_path) -> None:
    pytest.importorskip("multiqc", reason="MultiQC is not installed in this environment")
    from scfm.report.page.writer import write_page

    write_modules(modules, tmp_path / "content", title="Large")
    configs = [ASSETS / "multiqc_config.yml", tmp_path / "content" / "scfmbench_order.yml"]
    write_page(tmp_path / "content", configs, tmp_path / "out", filename="page.html")
    assert (tmp_path / "out" / "page.html").stat().st_size < 5_000_000
