"""Small synthetic files with the columns, ids and quirks of the study's: they go through recipes and pipeline as the
real ones would.

Every class has genes of its own, every batch factors per gene, a depth and ambient counts (the planted effects of
:mod:`scfm.testing.demo`), so that classes can be told apart, batches, too, and a correction has something to correct.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.io.tables import write_json
from scfm.recipes.recipe import load_recipe
from scfm.registries.reader import ASSETS
from scfm.testing import stand_in_names as names
from scfm.testing.stand_in_cells import (
    MIN_CELLS,
    N_GENES,
    as_file,
    deal,
    draw_cells,
    gene_ids,
    make_profiles,
    obs_frame,
)

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    import pandas as pd


def make_liver(seed: int) -> "dict[str, ad.AnnData]":
    """Sixteen donors of very unequal size, eighteen types and ``unknown``; and a second data set with disease."""
    import numpy as np

    rng = np.random.default_rng([seed, 1])
    total = sum(n for n, _ in names.LIVER_DONORS.values())
    sizes = {donor: 10 + round(230 * n / total) for donor, (n, _) in names.LIVER_DONORS.items()}
    allowed = {d: sorted(rng.permutation(names.LIVER_TYPES)[:k].tolist()) for d, (_, k) in names.LIVER_DONORS.items()}
    donors, types = deal(sizes, allowed, rng)
    unknown = rng.choice(list(sizes), 20).tolist()
    donors, types = donors + unknown, types + ["unknown"] * 20
    counts = draw_cells(make_profiles([*names.LIVER_TYPES, "unknown"], rng), types, donors, rng)
    chemistry = {d: "10x 3' v3" if i % 2 else "10x 5' v1" for i, d in enumerate(sizes)}
    obs = obs_frame(
        {
            "donor_id": donors,
            "cell_type": types,
            "assay": [chemistry[d] for d in donors],
            "disease": ["normal"] * len(donors),
            "tissue": ["liver"] * len(donors),
            "suspension_type": ["cell"] * len(donors),
        },
        "L",
    )
    shuffled = rng.permutation(len(donors))
    ids, symbols = gene_ids(), [f"LIV{i}" for i in range(N_GENES)]
    healthy = as_file(counts[shuffled], obs.iloc[shuffled], ids, symbols, "Healthy liver")
    some = obs.iloc[shuffled[:24]].copy()
    some["disease"] = ["normal", "intestinal failure-associated liver disease"] * 12
    some["disease"] = some["disease"].astype("category")
    return {
        "liver.h5ad": healthy,
        "liver_all.h5ad": as_file(counts[shuffled[:24], :60], some, ids[:60], symbols[:60], "Liver, all"),
    }


def make_immune(seed: int) -> "dict[str, ad.AnnData]":
    """Three donors and cells of none, ten tissues, the 31 types of the recipe and one that it does not know."""
    import numpy as np

    rng = np.random.default_rng([seed, 2])
    rules = load_recipe(ASSETS / "recipes" / "Immune.yml").labels
    types = sorted(rules.rules[0].labels) if rules else []
    tissues = {t: 24 + 3 * i for i, t in enumerate(names.IMMUNE_TISSUES)}
    where, kind = deal(tissues, dict.fromkeys(tissues, types), rng)
    donor: list[Any] = ["D529"] * len(kind)
    for name, n in (("D529", 12), ("D496", 40), ("D503", 30), (None, 10)):
        where += rng.choice(names.IMMUNE_TISSUES, n).tolist()
        kind += ["erythrocyte"] * n if name == "D529" else rng.choice([*types, "erythrocyte"], n).tolist()
        donor += [name] * n
    counts = draw_cells(make_profiles([*types, "erythrocyte"], rng), kind, where, rng, sd=0.4)
    obs = obs_frame(
        {
            "donor_id": donor,
            "tissue": where,
            "cell_type": kind,
            "disease": ["normal"] * len(kind),
            "assay": ["10x 5' v1"] * len(kind),
            "suspension_type": ["cell"] * len(kind),
        },
        "I",
    )
    order = rng.permutation(len(kind))
    data = as_file(
        counts[order], obs.iloc[order], gene_ids(first=300), [f"IMM{i}" for i in range(N_GENES)], "Immune cells"
    )
    return {"Immune.h5ad": data}


def make_lung(seed: int) -> "dict[str, ad.AnnData]":
    """Six studies with several diseases, assays and suspension types; three annotation levels that do not always agree;
    Unknown cells.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 3])
    classes = list(names.LUNG_CLASSES)
    groups = {str(i): n for i, n in enumerate(names.LUNG_GROUPS.values())}
    group, kind = [], []
    for number, n in groups.items():  # study by study, so that every scenario has its classes
        dealt = deal({number: n}, {number: classes}, rng, minimum=min(MIN_CELLS, n // len(classes)))
        group, kind = group + dealt[0], kind + dealt[1]
    others = rng.permutation([k for k in names.LUNG_OTHERS for _ in range(15)]).tolist()
    group, kind = group + rng.choice(list(groups), len(others)).tolist(), kind + others
    table = names.LUNG_CLASSES | names.LUNG_OTHERS
    level_3 = [table[k][2][int(rng.integers(len(table[k][2])))] for k in kind]
    level_2 = [table[k][1] for k in kind]
    for cell in [i for i, k in enumerate(kind) if k == "AT2"][:5] + [
        i for i, k in enumerate(kind) if k == "Macrophages"
    ][:5]:
        level_2[cell] = (
            "Blood vessels"  # an AT2 by the first rule; but the second rule makes blood vessels of these macrophages
        )
    facts = list(names.LUNG_GROUPS)
    study, disease, assay, suspension = ([facts[int(g)][i] for g in group] for i in range(4))
    donor = [f"{s.split('_')[0]}_{int(d)}" for s, d in zip(study, rng.integers(1, 4, len(study)), strict=True)]
    counts = draw_cells(make_profiles([*classes, *names.LUNG_OTHERS], rng), kind, group, rng)
    obs = obs_frame(
        {
            "study": study,
            "disease": disease,
            "assay": assay,
            "suspension_type": suspension,
            "donor_id": donor,
            "tissue": ["lung parenchyma"] * len(study),
            "ann_level_1": [table[k][0] for k in kind],
            "ann_level_2": level_2,
            "ann_level_3": level_3,
        },
        "H",
    )
    order = rng.permutation(len(kind))
    data = as_file(
        counts[order], obs.iloc[order], gene_ids(first=600), [f"LUN{i}" for i in range(N_GENES)], "HLCA, full"
    )
    return {"hlca.h5ad": data}


def ortholog_table() -> tuple["pd.DataFrame", "np.ndarray"]:
    """Return the table of orthologs, and for each mouse gene the human gene whose expression it has.

    205 genes have one partner each; 5 mouse genes have two human partners, 10 human genes two mouse partners; rows lack
    an id on either side, and name genes that the files do not have. 220 genes are left by the study's rule.
    """
    import numpy as np
    import pandas as pd

    human, mouse = gene_ids(first=900, n=N_GENES + 5), gene_ids("ENSMUSG", first=900, n=N_GENES + 5)
    pairs: list[tuple[int | None, int | None]] = [(i, i) for i in range(205)]
    pairs += [(205 + i, 205 + i // 2) for i in range(10)]
    pairs += [(215 + i // 2, 210 + i) for i in range(20)]
    pairs += [(225 + i, None) for i in range(10)] + [(None, 230 + i) for i in range(10)]
    pairs += [(250 + i, 240 + i) for i in range(5)] + [(235 + i, 250 + i) for i in range(5)]
    pairs = [pairs[i] for i in np.random.default_rng(4).permutation(len(pairs))]
    columns = {
        "Gene stable ID": ["" if h is None else human[h] for h, _ in pairs],
        "Mouse gene stable ID": ["" if m is None else mouse[m] for _, m in pairs],
        "Gene name": ["" if h is None or h % 40 == 7 else f"LIM{h}" for h, _ in pairs],
        "Mouse gene name": ["" if m is None else f"Lim{m}" for _, m in pairs],
    }
    partner = np.arange(N_GENES)
    for h, m in pairs:
        if h is not None and m is not None and m < N_GENES and h < N_GENES:
            partner[m] = h
    return pd.DataFrame(columns), partner


def make_limb(seed: int) -> "dict[str, ad.AnnData]":
    """Human and mouse: other obs columns, the species as plain text, mouse cells of two centres."""
    import numpy as np

    rng = np.random.default_rng([seed, 4])
    allowed = {
        "human": [t for t in names.LIMB_TYPES if t not in names.MOUSE_ONLY],
        "mouse": [t for t in names.LIMB_TYPES if t not in names.HUMAN_ONLY],
    }
    species, kind = deal({"human": 235, "mouse": 195}, allowed, rng)
    profiles = make_profiles(names.LIMB_TYPES, rng)
    is_human = np.asarray(species, dtype=object) == "human"
    types = np.asarray(kind, dtype=object)
    types_human, types_mouse = types[is_human].tolist(), types[~is_human].tolist()
    human = draw_cells(profiles, types_human, ["human"] * len(types_human), rng)
    elsewhere = rng.choice(allowed["mouse"], 60).tolist()
    centres = ["Sanger"] * len(types_mouse) + ["Guangzhou"] * 40 + ["EBI"] * 20
    partner = ortholog_table()[1]
    of_mouse = {name: profile[partner] / profile[partner].sum() for name, profile in profiles.items()}
    mouse = draw_cells(of_mouse, types_mouse + elsewhere, centres, rng)
    n_human, n_mouse = human.shape[0], mouse.shape[0]
    obs_human = obs_frame(
        {
            "cell_type": types_human,
            "organism": ["Homo sapiens"] * n_human,
            "donor_id": rng.choice(["F1", "F2", "F3"], n_human),
            "stage": rng.choice(["PCW5.1", "PCW6.5", "PCW9.3"], n_human),
            "leiden": rng.choice(["0", "1", "2"], n_human),
            "tissue": ["hindlimb"] * n_human,
        },
        "X",
        plain=["organism"],
    )
    obs_mouse = obs_frame(
        {
            "cell_type": types_mouse + elsewhere,
            "organism": ["Mus musculus"] * n_mouse,
            "sequencing_center": centres,
            "donor_id": rng.choice(["M1", "M2"], n_mouse),
            "embryonic_day": rng.choice([11.5, 13.5], n_mouse).tolist(),
            "leiden": rng.choice(["0", "1"], n_mouse),
            "tissue": ["hindlimb"] * n_mouse,
        },
        "X",
        plain=["organism"],
    )
    obs_mouse["embryonic_day"] = obs_mouse["embryonic_day"].astype(float)
    order = rng.permutation(n_mouse)
    return {
        "limb_human.h5ad": as_file(
            human, obs_human, gene_ids(first=900), [f"LIM{i}" for i in range(N_GENES)], "Human limb"
        ),
        "limb_mouse.h5ad": as_file(
            mouse[order],
            obs_mouse.iloc[order],
            gene_ids("ENSMUSG", first=900),
            [f"Lim{i}" for i in range(N_GENES)],
            "Mouse limb",
        ),
    }


def mirror_index() -> dict[str, Any]:
    """Return the content of ``mirror.json`` (:mod:`scfm.testing.mirror`)."""
    collections = []
    for key, (identifier, title) in names.COLLECTIONS.items():
        datasets = [
            {
                "dataset_id": dataset,
                "dataset_version_id": f"5ca1ab1e-0000-4000-9000-{dataset[-12:]}",
                "title": name,
                "file": file,
                "organism": [organism],
                "disease": disease,
                "tissue": tissue,
                "assay": assay,
                "suspension_type": ["cell"],
                "citation": "Synthetic, from bin/make_stand_ins.py",
                "schema_version": "5.2.0",
            }
            for file, dataset, name, organism, disease, tissue, assay in names.DATASETS[key]
        ]
        collections.append({"collection_id": identifier, "name": title, "doi": "", "datasets": datasets})
    return {"collections": collections, "files": ["orthologs.csv"]}


def make_stand_ins(seed: int = 0) -> "dict[str, ad.AnnData]":
    """Return the AnnData objects by file name; same seed, same numbers."""
    return make_liver(seed) | make_immune(seed) | make_lung(seed) | make_limb(seed)


def write_stand_ins(folder: Path, seed: int = 0) -> list[Path]:
    """Write the h5ad files, ``orthologs.csv`` and ``mirror.json``; return their paths."""
    import h5py
    from anndata.io import write_elem

    folder.mkdir(parents=True, exist_ok=True)
    for name, data in make_stand_ins(seed).items():
        with h5py.File(
            folder / name, "w", libver="latest"
        ) as file:  # the newer layout is smaller; plain text stays plain
            title = data.uns.pop("title")  # a single text can't be compressed
            write_elem(file, "/", data, dataset_kwargs={"compression": "gzip", "compression_opts": 9, "shuffle": True})
            write_elem(file["uns"], "title", title)
    table = ortholog_table()[0].to_csv(index=False, lineterminator="\n")
    (folder / "orthologs.csv").write_text(f"{table}[success]\n")
    write_json(folder / "mirror.json", mirror_index())
    return sorted(folder.iterdir())
