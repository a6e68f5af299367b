"""Randomly initialised checkpoints of the models that are no BERT: scGPT, scFoundation, UCE, CellPLM, Nicheformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scfm.testing.tiny_common import Draw, GeneTable, Recipe, Sizes, torch_layer
from scfm.testing.tiny_files import save, torch_layers, write_json
from scfm.testing.tiny_uce import write_uce

if TYPE_CHECKING:
    import torch


# ---- scGPT -----------------------------------------------------------------------------------------------------------


def write_scgpt(folder: Path, genes: GeneTable, draw: Draw, sizes: Sizes, release: str) -> None:
    """Write ``vocab.json``, ``args.json`` and ``best_model.pt``; releases are the spellings of the attention
    projections.
    """
    tokens = [*genes.symbols, *(t for t in ("<pad>", "<cls>", "<eoc>") if t not in genes.symbols)]
    write_json(folder / "vocab.json", {token: i for i, token in enumerate(tokens)})
    write_json(
        folder / "args.json",
        {
            "embsize": sizes.width,
            "nheads": sizes.heads,
            "d_hid": sizes.inner,
            "nlayers": sizes.layers,
            "n_layers_cls": 3,
            "dropout": 0.2,
            "pad_token": "<pad>",
            "pad_value": -2,
            "mask_value": -1,
            "input_style": "binned",
            "input_emb_style": "continuous",
            "n_bins": 51,
            "max_seq_len": 1200,
            "fast_transformer": True,
        },
    )
    d = sizes.width
    state = draw.normal("encoder.embedding.weight", len(tokens), d) | draw.norm("encoder.enc_norm", d)
    state |= (
        draw.linear("value_encoder.linear1", d, 1)
        | draw.linear("value_encoder.linear2", d, d)
        | draw.norm("value_encoder.norm", d)
    )
    state |= torch_layers(
        draw, "transformer_encoder.layers.", sizes, qkv={"Wqkv": "Wqkv.", "in_proj": "in_proj_"}[release]
    )
    state |= draw.linear("decoder.fc.0", d, d) | draw.linear("decoder.fc.2", d, d) | draw.linear("decoder.fc.4", 1, d)
    save(folder / "best_model.pt", state)


# ---- scFoundation ----------------------------------------------------------------------------------------------------


def write_scfoundation(folder: Path, genes: GeneTable, draw: Draw, sizes: Sizes, release: str) -> None:
    """Write ``models.ckpt`` with its three entries, and the list of genes."""
    n, bins = len(genes), 100 if sizes.width > 100 else 12
    rows = "".join(f"{symbol}\t{i}\n" for i, symbol in enumerate(genes.symbols))
    (folder / "OS_scRNA_gene_index.19264.tsv").write_text(f"gene_name\tindex\n{rows}")
    encoder = {
        "hidden_dim": sizes.width,
        "depth": sizes.layers,
        "heads": sizes.heads,
        "dim_head": sizes.width // sizes.heads,
        "seq_len": n + 2,
        "module_type": "transformer",
        "norm_first": False,
    }
    config = {
        "model": "mae_autobin",
        "model_config": {
            "mae_autobin": {
                "encoder": encoder,
                "gene_num": n + 2,
                "seq_len": n + 2,
                "n_class": 104,
                "pad_token_id": 103,
                "mask_token_id": 102,
                "bin_num": bins,
                "bin_alpha": 1.0,
                "model": "mae_autobin",
            }
        },
        "dataset_config": {"rnaseq": {"bin_num": bins, "bin_type": "auto_bin"}},
    }
    save(
        folder / "models.ckpt",
        {
            entry: {
                "config": config,
                "state_dict": _scfoundation_entry(Draw(draw.seed, f"{draw.scope}.{entry}"), sizes, n, bins),
            }
            for entry in ("cell", "rde", "gene")
        },
    )


def _scfoundation_entry(draw: Draw, sizes: Sizes, n_genes: int, bins: int) -> "dict[str, torch.Tensor]":
    d = sizes.width
    state = draw.linear("model.token_emb.mlp", bins, 1) | draw.linear("model.token_emb.mlp2", bins, bins)
    state |= draw.normal("model.token_emb.emb.weight", bins, d) | draw.normal("model.pos_emb.weight", n_genes + 3, d)
    state |= draw.normal("model.token_emb.emb_mask.weight", 1, d) | draw.normal("model.token_emb.emb_pad.weight", 1, d)
    for i in range(sizes.layers):
        state |= torch_layer(draw, f"model.encoder.transformer_encoder.{i}.", d, 4 * d)
    return (
        state
        | draw.norm("model.encoder.norm", d)
        | draw.linear("model.decoder_embed", d, d)
        | draw.linear("model.to_final", 1, d)
    )


# ---- UCE -------------------------------------------------------------------------------------------------------------


# ---- CellPLM ---------------------------------------------------------------------------------------------------------

_CELLPLM = {"vae": "20231027_85M", "gmvae": "20230926_85M"}


def write_cellplm(folder: Path, genes: GeneTable, draw: Draw, sizes: Sizes, release: str) -> None:
    """Write ``<version>.config.json`` and ``<version>.best.ckpt`` with a VAE or a Gaussian mixture behind the
    encoder.
    """
    vocabulary, h, z, k = list(genes.by_id), sizes.width, max(1, sizes.width // 2), 16
    config = {
        "name": _CELLPLM[release],
        "enc_mod": "flowformer",
        "enc_hid": h,
        "enc_layers": sizes.layers,
        "latent_mod": release,
        "post_latent_dim": z,
        "norm": "groupnorm",
        "num_clusters": k,
        "cat_pe": False,
        "input_covariate": False,
        "dsbn": False,
        "ecs": False,
        "dar": False,
        "model_dropout": 0.2,
        "out_dim": len(vocabulary),
        "gene_list": vocabulary,
    } | ({} if sizes.heads == 8 else {"enc_head": sizes.heads})
    write_json(folder / f"{_CELLPLM[release]}.config.json", config)
    state = draw.normal("embedder.feat_enc.emb", len(vocabulary), h, std=h**-0.5)
    state |= (
        draw.linear("embedder.extra_linear.0", h, h)
        | draw.norm("embedder.extra_linear.3", h)
        | draw.norm("embedder.norm0", h)
    )
    for i in range(sizes.layers):
        at = f"encoder.layers.{i}."
        for part in ("query", "key", "value", "out"):
            state |= draw.linear(f"{at}self_attn.{part}_projection", h, h)
        state |= draw.linear(f"{at}_ff_block.0", 2 * h, h) | draw.linear(f"{at}_ff_block.3", h, 2 * h)
        state |= draw.norm(f"{at}norm1", h) | draw.norm(f"{at}norm2", h)
    state |= draw.norm("pre_latent_norm.norm", h)
    at = "latent.layers.1."
    if release == "vae":
        state |= draw.linear(f"{at}hid_2mu", z, h) | draw.linear(f"{at}hid_2sigma", z, h)
    else:
        inner, at = 512 if h > 100 else 24, f"{at}inference."
        state |= draw.linear(f"{at}inference_qyx.0.logits", k, h) | draw.linear(f"{at}inference_qzyx.0", inner, h + k)
        state |= draw.linear(f"{at}inference_qzyx.2.mu", z, inner) | draw.linear(f"{at}inference_qzyx.2.var", z, inner)
    save(folder / f"{_CELLPLM[release]}.best.ckpt", {"model_state_dict": state})


# ---- Nicheformer -----------------------------------------------------------------------------------------------------

_N_SPECIAL = 30


def write_nicheformer(folder: Path, genes: GeneTable, draw: Draw, sizes: Sizes, release: str) -> None:
    """Write gene order, technology means and weights: a Lightning file, with the relics of older ones (``ckpt-old``),
    or the hub's folder.
    """
    import anndata
    import pandas as pd
    import torch

    names, d = list(genes.by_id), sizes.width
    var = pd.DataFrame(index=pd.Index(names, dtype=object))
    anndata.AnnData(
        np.zeros((1, len(names)), dtype=np.float32), obs=pd.DataFrame(index=["stored"]), var=var
    ).write_h5ad(folder / "model.h5ad")
    rng = draw.rng("means")
    means = rng.gamma(1.5, 2.0, len(names)) + 0.07
    means[rng.permutation(len(names))[: max(1, len(names) // 300)]] = np.nan  # genes that the technology does not have
    np.save(folder / "dissociated_mean_script.npy", means)
    hyper = {
        "dim_model": d,
        "nheads": sizes.heads,
        "dim_feedforward": sizes.inner,
        "nlayers": sizes.layers,
        "dropout": 0.0,
        "batch_first": True,
        "masking_p": 0.15,
        "n_tokens": len(names) + _N_SPECIAL,
        "context_length": sizes.max_length,
        "cls_classes": 164,
        "supervised_task": None,
        "learnable_pe": True,
        "specie": True,
        "assay": True,
        "modality": True,
    }
    state = draw.normal("embeddings.weight", hyper["n_tokens"] + 5, d) | draw.normal(
        "positional_embedding.weight", sizes.max_length, d
    )
    state["embeddings.weight"][1] = 0.0
    state |= torch_layers(draw, "encoder.layers.", sizes)
    head = draw.linear("classifier_head", hyper["n_tokens"], d)
    if release == "hub":
        from safetensors.torch import save_file

        write_json(
            folder / "config.json", {"architectures": ["NicheformerForMaskedLM"], "model_type": "nicheformer", **hyper}
        )
        save_file(
            {f"nicheformer.{name}": tensor for name, tensor in state.items()} | head,
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        return
    if release == "ckpt-old":
        state |= torch_layer(draw, "encoder_layer.", d, sizes.inner) | {"pos": torch.arange(sizes.max_length)}
        hyper |= {"autoregressive": False, "pool": None}
    schedule = [{"last_epoch": 1, "_last_lr": [np.float64(1e-4)]}]  # NumPy scalars, as in the released file
    save(
        folder / "nicheformer.ckpt",
        {
            "epoch": 1,
            "global_step": 1,
            "pytorch-lightning_version": "2.6.6",
            "state_dict": state | head,
            "hyper_parameters": hyper,
            "lr_schedulers": schedule,
            "optimizer_states": [],
            "callbacks": {},
            "loops": {},
        },
    )


RECIPES = {
    "scgpt": Recipe(
        write_scgpt,
        ("Wqkv", "in_proj"),
        Sizes(inner=32),
        {"Wqkv": Sizes(width=512, heads=8, layers=12, inner=512)},
    ),
    "scfoundation": Recipe(
        write_scfoundation,
        ("three-entries",),
        Sizes(inner=128),
        {"three-entries": Sizes(width=768, heads=12, layers=12, inner=3072)},
    ),
    "uce": Recipe(
        write_uce,
        ("4layer", "33layer"),
        Sizes(width=40, heads=20, inner=80),
        {
            "4layer": Sizes(width=1280, heads=20, layers=4, inner=5120),
            "33layer": Sizes(width=1280, heads=20, layers=33, inner=5120),
        },
    ),
    "cellplm": Recipe(
        write_cellplm,
        ("vae", "gmvae"),
        Sizes(heads=8),
        {"vae": Sizes(width=1024, heads=8, layers=4, inner=2048)},
    ),
    "nicheformer": Recipe(
        write_nicheformer,
        ("ckpt", "ckpt-old", "hub"),
        Sizes(),
        {"ckpt": Sizes(width=512, heads=16, layers=12, inner=1024, max_length=1500)},
    ),
}
