"""The models on a GPU: golden rows in float32, bf16 near them, the same bits twice, and what the sidecar says of it.

Skipped where PyTorch finds no GPU; what can be tested without one is in ``test_models_layer.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models_contract import TOLERANCE, all_cases, assert_close, cosines, embed, read_input, run_golden
from scfm.models.core.runner import RunOptions

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")

CASES = all_cases()
MODELS = pytest.mark.parametrize("cases", CASES, ids=lambda c: c.model)
APART = pytest.mark.parametrize("cases", [c for c in CASES if c.load().cells_apart], ids=lambda c: c.model)
GOLDEN = [pytest.param(c, g, id=f"{c.model}-{g.fixture or c.fixture}-{g.release}") for c in CASES for g in c.golden]


@pytest.mark.parametrize(("cases", "golden"), GOLDEN)
def test_equals_the_official_code(cases, golden) -> None:
    outcome = run_golden(cases, golden, device="cuda")
    assert outcome.difference <= TOLERANCE
    assert not outcome.unequal


@MODELS
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_run_gives_the_same_bits(cases, precision) -> None:
    rows = [embed(cases.load(device="cuda", precision=precision), read_input(cases.fixture)) for _ in range(2)]
    np.testing.assert_array_equal(rows[0].to_numpy(), rows[1].to_numpy())


@APART
def test_rows_do_not_depend_on_batches(cases) -> None:
    whole = embed(cases.load(device="cuda"), read_input(cases.fixture))
    for tokens in (1, 300):
        assert_close(embed(cases.load(device="cuda"), read_input(cases.fixture), batch_tokens=tokens), whole, TOLERANCE)


@MODELS
def test_bf16_stays_close(cases) -> None:
    exact = embed(cases.load(device="cuda"), read_input(cases.fixture))
    found = embed(cases.load(device="cuda", precision="bf16"), read_input(cases.fixture)).loc[exact.index]
    assert cosines(found.to_numpy(), exact.to_numpy()).min() > 0.98
    assert np.abs(found.to_numpy() - exact.to_numpy()).max() > 1e-6  # it did compute in bf16


@APART
def test_the_sidecar_tells_how_far_bf16_is(cases, tmp_path) -> None:
    from scfm.models.output import embed_file

    settings = {"strip_version": "false", **cases.settings}
    how = {"settings": settings, "options": RunOptions(min_gene_overlap=0.0), "device": "cuda", "precision": "bf16"}
    sidecar = embed_file(cases.model, cases.folder, cases.folder / "input.h5ad", tmp_path / "rows.parquet", **how)
    exact = embed(cases.load(device="cuda"), read_input(cases.fixture))
    found = embed(cases.load(device="cuda", precision="bf16"), read_input(cases.fixture)).loc[exact.index]
    cosine = cosines(found.to_numpy(), exact.to_numpy())
    drift = sidecar["bf16_drift"]
    assert drift["cells"] == len(exact)
    assert abs(drift["cosine_min"] - cosine.min()) < 1e-6 and abs(drift["cosine_median"] - np.median(cosine)) < 1e-6
    assert sidecar["device"] == "cuda" and sidecar["peak_gpu_mb"] > 0


def test_a_gpu_that_is_too_small_for_a_batch_gets_smaller_ones(caplog) -> None:
    cases = next(c for c in CASES if c.model == "scgpt")
    model = cases.load(device="cuda")
    whole = embed(model, read_input(cases.fixture))
    forward, sizes = model.forward, []

    def hungry(batch):
        sizes.append(len(batch.segments))
        torch.empty(torch.cuda.mem_get_info()[1] // 8 * len(batch.segments), dtype=torch.uint8, device="cuda")
        return forward(batch)

    model.forward = hungry
    assert_close(embed(model, read_input(cases.fixture)), whole, TOLERANCE)
    assert "out of GPU memory" in caplog.text and max(sizes) > 8 > min(sizes)
