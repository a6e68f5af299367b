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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("lengths", [[40, 40, 40], [1, 70, 33], [50]], ids=str)
@pytest.mark.parametrize("heads", [2, 3], ids=lambda n: f"width-{48 // n}")
@pytest.mark.parametrize("plain", [1, 1000], ids=lambda n: f"plain-from-{n}")
def test_attention_equals_the_long_way(dtype, lengths, heads, plain, monkeypatch) -> None:
    import scfm.models.core.attention
    from scfm.models.core.attention import attention
    from scfm.models.core.segments import Segments

    monkeypatch.setattr(scfm.models.core.attention, "_PLAIN_TOKENS", plain)
    torch.manual_seed(0)
    fewer = [max(1, n - 7) for n in lengths]  # keys without padding, as of Nicheformer
    for q_lengths, k_lengths in ((lengths, lengths), (lengths, fewer), ([1] * len(lengths), lengths)):
        segments = Segments(q_lengths, "cuda"), Segments(k_lengths, "cuda")
        q, k, v = (torch.randn(s.total, 48, device="cuda", dtype=dtype) for s in (segments[0], *segments[1:] * 2))
        found = attention(q, k, v, *segments, heads=heads)
        for i, part in enumerate(found.split(q_lengths)):
            one = [
                x.split(n)[i].double().unflatten(1, (heads, -1)).transpose(0, 1)
                for x, n in ((q, q_lengths), (k, k_lengths), (v, k_lengths))
            ]
            slow = torch.nn.functional.scaled_dot_product_attention(*one).transpose(0, 1).flatten(1)
            assert (part - slow).norm() / slow.norm() < {torch.float32: 1e-6, torch.bfloat16: 6e-3}[dtype]


def test_parts_in_bf16_equal_those_in_float32() -> None:
    from scfm.models.core.linear import Linear, Norm
    from scfm.models.core.segments import Segments

    torch.manual_seed(0)
    x = torch.randn(300, 64, device="cuda")
    layer = Linear(torch.randn(96, 64, device="cuda") / 8, torch.randn(96, device="cuda"))
    assert torch.equal(layer(x, "relu"), layer(x).relu())
    short = Linear(layer.weight.bfloat16(), layer.bias.bfloat16())
    torch.testing.assert_close(short(x.bfloat16(), "relu").float(), layer(x, "relu"), atol=0.05, rtol=0.01)
    norm = Norm(torch.rand(64, device="cuda") + 0.5, torch.randn(64, device="cuda"), 1e-5)
    assert norm(x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x.bfloat16()).float(), norm(x), atol=0.03, rtol=0.01)
    segments, parts = Segments([100, 150, 50], "cuda"), x.split([100, 150, 50])
    torch.testing.assert_close(segments.mean(x), torch.stack([p.mean(0) for p in parts]))
    assert torch.equal(segments.mean(x), segments.mean(x))
    assert torch.equal(segments.max(x), torch.stack([p.amax(0) for p in parts]))


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
