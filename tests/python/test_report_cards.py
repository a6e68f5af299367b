"""Method cards and pictures: what a card says, and that no picture stands twice."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from helpers_report import FAILURE, read_report, write_plot
from scfm.errors import ScfmError
from scfm.report.plots.training import MAX_POINTS, Training, draw_training, thin
from scfm.report.sections import pictures
from scfm.report.sections.cards import card_id, card_of, card_sections
from scfm.report.sections.pictures import card_embeddings, card_pictures, pictures_of, shrink, umap_sections
from scfm.report.view.cards import costs_of, settings_of, shorten, training_of
from scfm.report.view.fits import verdicts_of
from scfm.report.view.rows import CONTROL, embedding_rows


@pytest.fixture(scope="module")
def data(collected_run):
    """The report data of a simulated run."""
    return read_report(*collected_run)


@pytest.fixture(scope="module")
def html(data):
    """The cards of ``pbmc``."""
    return card_sections(data, "pbmc")[0].data


def card(html: str, data, method: str, dataset: str = "pbmc") -> str:
    """Return the card of one method."""
    start = html.index(f"id='{card_id(dataset, method)}'")
    return html[start : html.index("</details>", start)]


def text_of(html: str) -> str:
    """Return HTML without its tags, blanks joined."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_every_method_has_one_folded_card_in_the_order_of_the_overview(data, html):
    order = list(dict.fromkeys(r.method for r in embedding_rows(data, "pbmc") if r.group != CONTROL))
    assert re.findall(r"<details class='scfm-card' id='scfm-card-pbmc-(\w+)'>", html) == order
    assert "<details open" not in html and "Random noise" not in html


def test_a_card_has_the_scores_of_every_seed_and_correction(data, html):
    text = text_of(card(html, data, "scvi"))
    totals = data.totals.query("dataset == 'pbmc' and scaling == 'raw' and bio_weight == 0.6").set_index("embedding")
    for name in ("scvi.raw.0", "scvi.raw.1", "scvi.center_l2.0", "scvi.center_l2.1"):
        row = totals.loc[name]
        assert (
            f"{name} {row['correction']} {row['seed']} {row['total']:.2f} {row['bio']:.2f} {row['batch']:.2f} 100.0%"
            in text
        )


def test_a_failed_method_has_a_card_with_its_reason(data):
    html = card_sections(data, "ifnb")[0].data
    text = card(html, data, "combat", "ifnb")
    assert "no scores; failed: embed" in text_of(text)
    assert "E-RUN-01" in text and FAILURE not in text and "&lt;has&gt;" in text  # the reason is escaped


def test_warnings_settings_cost_and_reference_are_in_the_card(data, html):
    text = text_of(card(html, data, "scanorama"))
    assert "E-ID-01: scanorama.raw.0 has 1,193 of 1,200 cells" in text
    assert "theta 2" in text and "Time 3.0 s" in text and "Peak memory 512 MiB" in text
    assert "doi:10.1038/s41587-019-0113-3" in text


def test_harmony_and_trained_models_say_how_the_fit_ended():
    harmony = {"rounds": 4, "settings": {"max_iter": 10}}
    assert verdicts_of(harmony) == ["4 of at most 10 rounds"]
    assert verdicts_of({**harmony, "converged": False}) == ["4 of at most 10 rounds, not converged"]
    training = {"epochs_run": 60, "max_epochs": 100, "restored_epoch": 45, "gap": 0.0081, "verdict": "fine"}
    assert verdicts_of({"training": training}) == [
        "60 of at most 100 epochs, weights of epoch 45; validation loss +0.8% from training loss: converged, no sign of"
        " overfitting"
    ]
    bare = {"epochs_run": 3, "max_epochs": 3, "verdict": "unknown"}
    assert verdicts_of({"training": bare})[0].endswith("3 epochs: no cells were held out, so overfitting can't be seen")
    assert verdicts_of({"settings": {}}) == []


def test_settings_come_first_and_what_the_maker_recorded_follows():
    found = settings_of({"settings": {"b": 1, "a": [1, 2]}, "seconds": 3.0, "rounds": 4, "versions": {}})
    assert found == [("a", "[1, 2]"), ("b", "1"), ("rounds", "4")]
    assert shorten(0.1 + 0.2) == "0.3" and shorten("x" * 200).endswith("… (the rest is in embeddings.json)")


def test_costs_are_the_mean_time_and_the_highest_memory(data):
    resources = data.resources.copy()
    raw = resources["embedding"].isin(["scvi.raw.0", "scvi.raw.1"]) & (resources["step"] == "embed")
    raw &= resources["dataset"] == "pbmc"
    assert raw.sum() == 2
    resources.loc[raw, "seconds"] = [10.0, 30.0]
    resources.loc[raw, "peak_rss_mb"] = [100.0, 2500.0]
    changed = data.with_tables(resources=resources)
    assert costs_of(changed, "pbmc", ["scvi.raw.0", "scvi.raw.1"]) == [
        ("Time", "20.0 s (mean of 2)"),
        ("Peak memory", "2,500 MiB"),
        ("Device", "cpu"),
    ]
    assert costs_of(data, "pbmc", ["nothing.raw.0"]) == []


# ---------------------------------------------------------------- training curves


def test_the_training_curve_is_drawn_with_the_best_epoch(data, html):
    training = training_of(data, "pbmc", "scvi.raw.0")
    path = next(p for p in data.histories if p.name == "pbmc.scvi.raw.0.history.csv")
    history = pd.read_csv(path)
    best = history.loc[history["elbo_validation"].idxmin()]
    assert training.best == (best["epoch"], best["elbo_validation"]) and set(training.curves) == {
        "Training",
        "Validation",
    }
    assert len(training.curves["Training"]) == len(history)
    shown = card(html, data, "scvi")
    assert f"Best epoch ({best['epoch']:.0f})" in shown
    assert shown.count("<svg") == 1 and "The history of 1 more seed is in training/ ." in text_of(shown)
    assert training_of(data, "pbmc", "harmony.raw.0") is None and "<svg" not in card(html, data, "harmony")


def test_training_without_validation_has_one_curve_and_no_best_epoch(data, tmp_path):
    path = tmp_path / "pbmc.scvi.raw.0.history.csv"
    pd.DataFrame({"epoch": [0, 1], "elbo_train": [2.0, 1.0], "elbo_validation": np.nan}).to_csv(path, index=False)
    training = training_of(replace(data, histories=[path]), "pbmc", "scvi.raw.0")
    assert training == Training({"Training": [(0.0, 2.0), (1.0, 1.0)]}, None)
    pd.DataFrame({"epoch": [0], "elbo_train": [np.nan]}).to_csv(path, index=False)
    assert training_of(replace(data, histories=[path]), "pbmc", "scvi.raw.0") is None


def test_a_long_history_is_thinned_out_and_keeps_its_ends():
    points = [(float(i), 1000.0 - i) for i in range(5000)]
    kept = thin(points)
    assert len(kept) == MAX_POINTS and kept[0] == points[0] and kept[-1] == points[-1]
    assert kept == sorted(set(kept)) and thin(points[:10]) == points[:10]
    svg = draw_training(Training({"Training": points}, None), key="k", label="<b>")
    ElementTree.fromstring(svg)
    assert len(svg) < 30_000 and "<b>" not in svg


# ---------------------------------------------------------------- pictures


def sources(html: str) -> list[str]:
    """Return the pictures of a section."""
    return re.findall(r"src='(data:image/webp;base64,[^']+)'", html)


def alts(html: str) -> list[str]:
    """Return the names of the pictures of a section."""
    return re.findall(r"alt='UMAP of ([^']+)'", html)


def test_cards_show_the_raw_embedding_of_the_first_seed_and_the_appendix_all_others(data, html):
    assert card_embeddings(data, "pbmc")["scvi"] == "scvi.raw.0" and "random" not in card_embeddings(data, "pbmc")
    cards, appendix = alts(html), alts(umap_sections(data, "pbmc")[0].data)
    assert [t for t in cards if "scVI" in t] == ["scVI, seed 0, by batch", "scVI, seed 0, by label"]
    assert not set(cards) & set(appendix)
    every = {f"{p.title}, by {p.by}" for own in pictures_of(data, "pbmc").values() for p in own}
    assert set(cards) | set(appendix) == every and len(cards) + len(appendix) == len(every)


def test_other_seeds_are_folded_behind_the_first(data):
    first, seeds = umap_sections(data, "pbmc")[0].data.split("<details")
    assert "scVI + center_l2, seed 0, by batch" in alts(first) and "scVI, seed 1, by batch" in alts(seeds)
    assert all(", seed 1" in t for t in alts(seeds)) and not any(", seed 1" in t for t in alts(first))


def test_pictures_that_do_not_fit_are_left_out_and_counted(data, monkeypatch):
    whole = len(alts(umap_sections(data, "pbmc")[0].data))
    monkeypatch.setattr(pictures, "PICTURE_BUDGET", 250_000)
    section = umap_sections(data, "pbmc")[0]
    left = whole - len(alts(section.data))
    assert 0 < left < whole and f"{left} pictures did not fit" in section.description
    assert sum(len(s) * 3 / 4 for s in sources(section.data)) < 62_500 * 1.05


def test_without_pictures_there_is_no_section_and_cards_stay(data):
    bare = replace(data, plots=[])
    assert umap_sections(bare, "pbmc") == [] and card_pictures(bare, "pbmc") == {}
    assert alts(card_sections(bare, "pbmc")[0].data) == []


def test_pictures_shrink_into_their_budget(tmp_path):
    from PIL import Image

    for i in range(3):
        write_plot(tmp_path / f"{'x' * (i + 1)}.png", 1800, 900)
    paths = sorted(tmp_path.glob("*.png"))
    large, small = shrink(paths, 10**9), shrink(paths, 15_000)
    assert sum(map(len, small)) <= 15_000 < sum(map(len, large))
    assert [Image.open(io.BytesIO(p)).width for p in large] == [860] * 3
    assert shrink(paths, 100) == []
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(ScfmError, match=r"broken\.png is not a picture that can be read"):
        shrink([tmp_path / "broken.png"], 100)


def test_a_card_of_a_method_without_sidecar_says_what_it_can(data):
    bare = replace(data, embeddings=[])
    rows = [r for r in embedding_rows(bare, "pbmc") if r.method == "harmony"]
    found = card_of(bare, "pbmc", "harmony", rows)
    assert found["settings"] == [] and found["versions"] == "" and found["fits"] == []
    assert found["line"].endswith("1 correction applied") and found["line"].startswith("total 0.")
