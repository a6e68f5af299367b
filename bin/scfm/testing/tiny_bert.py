"""Randomly initialised checkpoints of the BERT models: Geneformer, GeneCompass, scCello."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.testing.tiny_common import Draw, GeneTable, Recipe, Sizes, dump
from scfm.testing.tiny_files import save, write_json

if TYPE_CHECKING:
    import torch


def bert_config(sizes: Sizes, vocab_size: int, **more: Any) -> dict[str, Any]:
    """Return ``config.json``."""
    return {
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.inner,
        "max_position_embeddings": sizes.max_length,
        "vocab_size": vocab_size,
        "hidden_act": "relu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "model_type": "bert",
        "attention_probs_dropout_prob": 0.02,
        "hidden_dropout_prob": 0.02,
        **more,
    }


def bert_state(draw: Draw, sizes: Sizes, vocab_size: int, constants: dict[str, int]) -> "dict[str, torch.Tensor]":
    """Return embeddings (``constants``: further tables with their rows) and encoder."""
    d, at = sizes.width, "bert.embeddings."
    state = draw.normal(f"{at}word_embeddings.weight", vocab_size, d) | draw.normal(
        f"{at}position_embeddings.weight", sizes.max_length, d
    )
    state[f"{at}word_embeddings.weight"][0] = 0.0  # padding
    for name, rows in constants.items():
        state |= draw.normal(f"{at}{name}.weight", rows, d, std=0.1)
    state |= draw.norm(f"{at}LayerNorm", d)
    for i in range(sizes.layers):
        layer = f"bert.encoder.layer.{i}."
        for part in ("query", "key", "value"):
            state |= draw.linear(f"{layer}attention.self.{part}", d, d)
        state |= draw.linear(f"{layer}attention.output.dense", d, d) | draw.norm(
            f"{layer}attention.output.LayerNorm", d
        )
        state |= draw.linear(f"{layer}intermediate.dense", sizes.inner, d) | draw.linear(
            f"{layer}output.dense", d, sizes.inner
        )
        state |= draw.norm(f"{layer}output.LayerNorm", d)
    return state


def masked_head(draw: Draw, d: int, vocab_size: int) -> "dict[str, torch.Tensor]":
    """Return the head that predicted masked tokens: in the official files, and never read."""
    head = "cls.predictions."
    return (
        draw.normal(f"{head}bias", vocab_size)
        | draw.linear(f"{head}transform.dense", d, d)
        | draw.norm(f"{head}transform.LayerNorm", d)
    )


# ---- Geneformer ------------------------------------------------------------------------------------------------------

_FOLDERS = {"V2": "Geneformer-V2-104M", "V1": "Geneformer-V1-10M", "V1-bin": "gf-6L-30M-i2048"}


def write_geneformer(folder: Path, genes: GeneTable, draw: Draw, sizes: Sizes, release: str) -> None:
    """Write a clone of the model repository with one model in it: dictionaries and weights of either generation."""
    ids = [gene.upper() for gene in genes.by_id]
    specials = ["<pad>", "<mask>", "<cls>", "<eos>"] if release == "V2" else ["<pad>", "<mask>"]
    tokens = {token: i for i, token in enumerate([*specials, *ids])}
    medians, mapping, names = (
        draw.medians(ids),
        {gene: gene for gene in ids},
        dict(zip(genes.symbols, genes.ensembl, strict=True)),
    )
    content: dict[str, dict] = {
        "token_dictionary": tokens,
        "gene_median_dictionary": medians,
        "ensembl_mapping_dict": mapping,
        "gene_name_id_dict": names,
    }
    if release == "V2":
        base, ending, protocol = folder / "geneformer", "gc104M", 4
    else:  # these files hold NumPy scalars
        base, ending, protocol = folder / "geneformer" / "gene_dictionaries_30m", "gc30M", 2
        content["token_dictionary"] = {k: v if k in specials else np.int32(v) for k, v in tokens.items()}
        content["gene_median_dictionary"] = {k: np.float64(v) for k, v in medians.items()}
    for name, table in content.items():
        dump(base / f"{name}_{ending}.pkl", table, protocol=protocol)
    model = folder / _FOLDERS[release]
    write_json(model / "config.json", bert_config(sizes, len(tokens), architectures=["BertForMaskedLM"]))
    state = bert_state(draw, sizes, len(tokens), {"token_type_embeddings": 2}) | masked_head(
        draw, sizes.width, len(tokens)
    )
    if release == "V1-bin":
        save(model / "pytorch_model.bin", state)
        return
    from safetensors.torch import save_file

    save_file(state, model / "model.safetensors", metadata={"format": "pt"})


# ---- scCello ---------------------------------------------------------------------------------------------------------


def write_sccello(folder: Path, genes: GeneTable, draw: Draw, sizes: Sizes, release: str) -> None:
    """Write ``config.json``, ``pytorch_model.bin`` and ``token_vocabulary/`` (``<cls>`` is not in the dictionary)."""
    import csv

    pairs = genes.by_id
    tokens = {"<pad>": 0, "<mask>": 1} | {gene: np.int32(i) for i, gene in enumerate(pairs, start=2)}
    base = folder / "token_vocabulary"
    dump(base / "token_dictionary.pkl", tokens, protocol=2)
    dump(
        base / "gene_median_dictionary.pkl",
        {gene: np.float64(m) for gene, m in draw.medians(pairs).items()},
        protocol=2,
    )
    with (base / "vocab_id2name.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([("id", "name"), *pairs.items()])
    size, d = len(tokens) + 1, sizes.width
    config = bert_config(
        sizes,
        size,
        type_vocab_size=1,
        architectures=["PrototypeContrastiveForMaskedLM"],
        tau=0.01,
        data_branch="frac100",
    )
    write_json(folder / "config.json", config)
    constants = dict.fromkeys(("tf_class_embeddings", "tf_superclass_embeddings", "expbin_embeddings"), 1)
    state = bert_state(draw, sizes, size, constants)
    for head in ("cls.predictions.", "cell_cls.predictions."):
        state |= (
            draw.linear(f"{head}dense_1", d, d)
            | draw.norm(f"{head}layer_norm", d)
            | draw.linear(f"{head}dense_2", d, d)
        )
        state[f"{head}bias"] = state[f"{head}dense_2.bias"]
    save(folder / "pytorch_model.bin", state)


# ---- GeneCompass -----------------------------------------------------------------------------------------------------

#: knowledge -> width of a synthetic table, and files of its pickles for human and mouse
_KNOWLEDGE = {
    "promoter": (12, "promoter_emb/{}_emb_768.pickle", ("human", "mouse")),
    "co_exp": (10, "gene_co_express_emb/{}_random.pickle", ("Human_dim_768_gene_28291", "Mouse_dim_768_gene_27444")),
    "gene_family": (14, "gene_family/{}_random.pickle", ("Human_dim_768_gene_28291", "Mouse_dim_768_gene_27934")),
    "peca_grn": (8, "PECA2vec/{}_PECA_vec.pickle", ("human", "mouse")),
}


def write_genecompass(folder: Path, genes: GeneTable, draw: Draw, sizes: Sizes, release: str) -> None:
    """Write model, dictionaries and prior knowledge; release ``pickles`` leaves the knowledge tables out of the
    checkpoint.
    """
    import torch

    pairs = genes.by_id
    tokens = {"<pad>": 0, "<mask>": 1} | {gene: i for i, gene in enumerate(pairs, start=2)}
    size, d, prior = len(tokens), sizes.width, folder / "prior_knowledge"
    dump(folder / "dict" / "Gene_id_name_dict1.pickle", dict(zip(genes.symbols, genes.ensembl, strict=True)))
    dump(folder / "dict" / "gene_id_hpromoter.pickle", list(pairs))
    for species in ("human", "mouse"):
        dump(folder / "dict" / f"{species}_gene_median_after_filter.pickle", draw.medians(pairs))
    dump(prior / "human_mouse_tokens.pickle", tokens)
    dump(prior / "homologous_hm_token.pickle", {2: 2})
    dump(prior / "gene_list" / "Gene_id_name_dict_human_mouse.pickle", pairs)
    state = (
        bert_state(draw, sizes, size, {"token_type_embeddings": 2})
        | masked_head(draw, d, size)
        | draw.normal("bert.cls_embedding.weight", 2, d)
    )
    at = "bert.embeddings."
    for kind, (tiny_width, pattern, stems) in _KNOWLEDGE.items():
        width = 768 if d > 100 else tiny_width
        table = draw.normal(f"{kind} knowledge", size, width)[f"{kind} knowledge"]
        table[:2] = 0.0
        for stem, is_own in zip(stems, (True, False), strict=True):
            dump(
                prior / pattern.format(stem),
                (
                    {symbol: table[tokens[gene]].numpy() for gene, symbol in pairs.items()}
                    if is_own
                    else {"NO_GENE": np.zeros(width, np.float32)}
                ),
            )
        if release == "tables":
            state[f"{at}{kind}_knowledge"] = table
        state |= draw.linear(f"{at}{kind}_embeddings.linear1", d, width)
    if release == "tables":
        state[f"{at}homologous_index"] = torch.arange(size)
    cat = f"{at}concat_embeddings."
    state |= (
        draw.linear(f"{cat}cat_fc", d, 5 * d + 1) | draw.norm(f"{cat}cat_ln", d) | draw.linear(f"{cat}cat_proj", d, d)
    )
    model = folder / "GeneCompass_Base"
    uses = dict.fromkeys(
        ("use_values", "use_promoter", "use_co_exp", "use_gene_family", "use_peca_grn", "use_cls_token"), True
    )
    write_json(
        model / "config.json",
        bert_config(sizes, size, hidden_act="gelu", warmup_steps=10000, emb_warmup_steps=10000, **uses),
    )
    save(model / "pytorch_model.bin", state | {"emb_warmup.alpha": torch.tensor(0.5)})


RECIPES = {
    "geneformer": Recipe(
        write_geneformer,
        ("V2", "V1", "V1-bin"),
        Sizes(),
        {
            "V2": Sizes(width=768, heads=12, layers=12, inner=3072, max_length=4096),
            "V1": Sizes(width=256, heads=4, layers=6, inner=512, max_length=2048),
            "V1-bin": Sizes(width=256, heads=4, layers=6, inner=512, max_length=2048),
        },
    ),
    "sccello": Recipe(
        write_sccello,
        ("zeroshot",),
        Sizes(),
        {"zeroshot": Sizes(width=256, heads=4, layers=6, inner=512, max_length=2048)},
    ),
    "genecompass": Recipe(
        write_genecompass,
        ("tables", "pickles"),
        Sizes(),
        {"tables": Sizes(width=768, heads=12, layers=12, inner=3072, max_length=2048)},
    ),
}
