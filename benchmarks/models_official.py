"""The official code of seven models behind the two calls of the benchmark: ``tokenize`` (all cells) and ``forward``
(the first cells).

Nothing of the official repositories is stored here; they are imported from a folder of clones. The calls are those that
each repository's embedding script makes, in its batches and file order, without its outer shell (progress bars, writing
of files, worker processes: a worker would take the work to another core and out of the measured time). Imports that
have nothing to do with embedding (wandb, debuggers, plotting) are replaced by empty modules. Where we left official
work out, it makes the official side faster.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import numpy as np

if TYPE_CHECKING:
    import anndata


def package(name: str, folder: Path, **content: Any) -> None:
    """Register a package without running its ``__init__``, which would import training and plotting."""
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    module.__dict__.update(content)
    sys.modules[name] = module


class _Absent(types.ModuleType):
    """A module that is absent and that an embedding does not need: any name in it is a mock."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


def without(*names: str) -> None:
    """Replace modules that are absent."""
    for name in names:
        if name not in sys.modules and ("." in name or importlib.util.find_spec(name) is None):
            sys.modules[name] = _Absent(name)
            sys.modules[name].__spec__ = ModuleSpec(name, None)


class Official:
    """One official model."""

    official = "official"

    def __init__(self, spec: dict[str, Any], adata: "anndata.AnnData") -> None:
        self.weights, self.clones, self.adata, self.n = (
            Path(spec["weights"]),
            Path(spec["official"]),
            adata,
            spec["cells"],
        )
        self.spec = spec
        self.load()

    def load(self) -> None:
        """Build the model and what its forward pass reads."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return nothing more."""
        return {}


class ScGPT(Official):
    """``get_batch_cell_embeddings``: dense matrix, data set and collator of the repository, batches of 64 padded to
    their longest cell.
    """

    def load(self) -> None:
        """Load the plain PyTorch encoder, which the repository takes where flash-attn is absent."""
        import json
        import logging

        import torch

        top = self.clones / "scGPT" / "scgpt"
        package("scgpt", top, logger=logging.getLogger("scgpt"))
        package("scgpt.model", top / "model")
        from scgpt.data_collator import DataCollator
        from scgpt.model.model import TransformerModel

        args, self.vocab = (json.loads((self.weights / f"{name}.json").read_text()) for name in ("args", "vocab"))
        self.model = TransformerModel(
            len(self.vocab),
            args["embsize"],
            args["nheads"],
            args["d_hid"],
            args["nlayers"],
            nlayers_cls=args["n_layers_cls"],
            n_cls=1,
            vocab=self.vocab,
            dropout=args["dropout"],
            pad_token="<pad>",
            pad_value=args["pad_value"],
            do_mvc=True,
            use_fast_transformer=False,
        )
        state = torch.load(self.weights / "best_model.pt", weights_only=True)
        state = {k.replace("self_attn.Wqkv.", "self_attn.in_proj_"): v for k, v in state.items()}
        self.model.load_state_dict(state, strict=False)
        self.model.to(self.spec["device"]).eval()
        self.collate = DataCollator(
            do_padding=True,
            pad_token_id=self.vocab["<pad>"],
            pad_value=args["pad_value"],
            do_mlm=False,
            do_binning=True,
            max_length=1200,
            sampling=True,
            keep_first_n_tokens=1,
        )
        self.pad_value = args["pad_value"]
        self.batches = self.tokenize(self.n)

    def tokenize(self, n: int | None = None) -> list[dict]:
        """Densify, then per cell: non-zero genes, ``<cls>``, collator."""
        import torch

        dense = self.adata.X[:n].toarray()
        ids = np.array([self.vocab[name] for name in self.adata.var_names], dtype=int)
        batches = []
        for start in range(0, len(dense), 64):
            examples = []
            for i, row in enumerate(dense[start : start + 64], start=start):
                there = np.nonzero(row)[0]
                genes, values = np.insert(ids[there], 0, self.vocab["<cls>"]), np.insert(row[there], 0, self.pad_value)
                examples.append(
                    {"id": i, "genes": torch.from_numpy(genes).long(), "expressions": torch.from_numpy(values).float()}
                )
            batches.append(self.collate(examples))
        return batches

    def forward(self) -> np.ndarray:
        """Encode, take ``<cls>``, norm."""
        import torch

        with torch.no_grad():
            rows = []
            for batch in self.batches:
                genes = batch["gene"].to(self.spec["device"])
                mask = genes.eq(self.vocab["<pad>"])
                rows.append(
                    self.model._encode(genes, batch["expr"].to(self.spec["device"]), src_key_padding_mask=mask)[:, 0]
                    .cpu()
                    .numpy()
                )
        found = np.concatenate(rows)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


class Geneformer(Official):
    """``TranscriptomeTokenizer`` and ``get_embs`` of the repository (``BertForMaskedLM`` with its head, all hidden
    states, batches of 100).
    """

    version, mode, batch = "V1", "cell", 100

    def load(self) -> None:
        """Load model, tokenizer and the functions of the extractor."""
        import torch

        top = self.clones / "Geneformer" / "geneformer"
        sub, ending = ("gene_dictionaries_30m", "gc30M") if self.version == "V1" else (".", "gc104M")
        base = self.weights / "geneformer" / sub
        files = {
            k: base / f"{stem}_{ending}.pkl"
            for k, stem in (
                ("GENE_MEDIAN_FILE", "gene_median_dictionary"),
                ("TOKEN_DICTIONARY_FILE", "token_dictionary"),
                ("ENSEMBL_DICTIONARY_FILE", "gene_name_id_dict"),
                ("ENSEMBL_MAPPING_FILE", "ensembl_mapping_dict"),
            )
        }
        package("geneformer", top, **files, **{f"{k}_30M": v for k, v in files.items()})
        without("loompy", "peft", "bitsandbytes", "tdigest", "seaborn", "geneformer.classifier_utils")
        from geneformer import emb_extractor, perturber_utils, tokenizer

        if self.spec["device"] == "cpu":  # the extractor names the device "cuda" itself
            emb_extractor.torch = _CpuTorch(torch)
            torch.Tensor.to = _to_cpu(torch.Tensor.to)
            perturber_utils.torch = _CpuTorch(torch)
        self.extractor, self.utils = emb_extractor, perturber_utils
        folder = next(p.parent for p in self.weights.glob("*/config.json"))
        self.model = perturber_utils.load_model("Pretrained", 0, str(folder), "eval")
        how = {"gene_median_file": files["GENE_MEDIAN_FILE"], "token_dictionary_file": files["TOKEN_DICTIONARY_FILE"]}
        self.tokenizer = tokenizer.TranscriptomeTokenizer(
            {"cell": "cell"},
            nproc=None,
            model_version=self.version,
            gene_mapping_file=files["ENSEMBL_MAPPING_FILE"],
            **how,
        )
        self.adata.obs["n_counts"], self.adata.obs["cell"] = (
            np.asarray(self.adata.X.sum(1)).ravel(),
            np.arange(self.adata.n_obs),
        )
        self.paths = {}
        for n in (self.n, self.adata.n_obs):
            self.paths[n] = self.weights / f".bench_{n}.h5ad"
            self.adata[:n].copy().write_h5ad(self.paths[n])
        self.data = self.tokenize(self.n)

    def tokenize(self, n: int | None = None) -> Any:
        """Tokenise an .h5ad file and build the data set."""
        cells, metadata, counts = self.tokenizer.tokenize_anndata(str(self.paths[n or self.adata.n_obs]))
        return self.tokenizer.create_dataset(cells, metadata, counts)

    def forward(self) -> np.ndarray:
        """Sort by length, extract, put rows back into file order."""
        data = self.utils.downsample_and_sort(self.data, None)
        names = {v: k for k, v in self.tokenizer.gene_token_dict.items()}
        n_layers = self.utils.quant_layers(self.model)
        rows = self.extractor.get_embs(
            self.model,
            data,
            self.mode,
            n_layers - 1,
            self.tokenizer.gene_token_dict["<pad>"],
            self.batch,
            names,
            silent=True,
        )
        found = np.empty(rows.shape, dtype=np.float32)
        found[np.asarray(data["cell"])] = rows.cpu().numpy()
        return found


class GeneformerV2(Geneformer):
    """The same with ``<cls>``."""

    version, mode = "V2", "cls"


class _CpuTorch:
    """``torch`` for a module that names the device "cuda" itself."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def tensor(self, data: Any, device: str | None = None, **how: Any) -> Any:
        """Make a tensor on the CPU."""
        return self._torch.tensor(data, **how)


def _to_cpu(to: Any) -> Any:
    return lambda tensor, *args, **how: to(tensor, *("cpu" if a == "cuda" else a for a in args), **how)


class ScFoundation(Official):
    """``get_embedding.py``: one cell per forward, one row of a data frame at a time; the decoder is not even built."""

    def load(self) -> None:
        """Load the encoder of entry ``cell``."""
        import pandas as pd
        import torch

        sys.path.insert(0, str(self.clones / "scFoundation" / "model"))
        from load import gatherData
        from pretrainmodels.mae_autobin import MaeAutobin
        from pretrainmodels.transformer import pytorchTransformerModule

        content = torch.load(self.weights / "models.ckpt", weights_only=True, mmap=True)["cell"]
        config = content["config"]["model_config"]["mae_autobin"]
        encoder, self.gather, self.pad = config["encoder"], gatherData, config["pad_token_id"]
        self.model = MaeAutobin(
            num_tokens=config["n_class"],
            max_seq_len=config["seq_len"],
            embed_dim=encoder["hidden_dim"],
            decoder_embed_dim=encoder["hidden_dim"],
            bin_alpha=config["bin_alpha"],
            bin_num=config["bin_num"],
            pad_token_id=self.pad,
            mask_token_id=config["mask_token_id"],
        )
        self.model.encoder = pytorchTransformerModule(
            config["seq_len"], encoder["hidden_dim"], encoder["depth"], encoder["heads"]
        )
        self.model.load_state_dict(
            {k.removeprefix("model."): v for k, v in content["state_dict"].items()}, strict=False
        )
        self.model.to(self.spec["device"]).eval()
        self.seq_len = config["seq_len"]
        self.make_frame = lambda n: pd.DataFrame(
            self.adata.X[:n, : self.seq_len - 2].toarray(), columns=self.adata.var_names[: self.seq_len - 2]
        )
        self.cells = self.tokenize(self.n)

    def tokenize(self, n: int | None = None) -> list[tuple]:
        """Normalise a row, append the two totals, gather what is above 0."""
        import torch

        frame = self.make_frame(n)
        cells = []
        for i in range(len(frame)):
            row = np.log1p(frame.iloc[i, :] / (frame.iloc[i, :].sum()) * 1e4).tolist()
            total = frame.iloc[i, :].sum()
            values = torch.tensor([*row, np.log10(total * 1.0), np.log10(total)]).unsqueeze(0)
            ids = torch.arange(self.seq_len).repeat(1, 1)
            there = values > 0
            x, padding = self.gather(values, there, self.pad)
            cells.append((x, padding, self.gather(ids, there, self.pad)[0]))
        return cells

    def forward(self) -> np.ndarray:
        """Embed values, add positions, encode, pool: ``pool_type all``."""
        import torch

        rows = []
        with torch.no_grad():
            for cell in self.cells:
                x, padding, ids = (t.to(self.spec["device"]) for t in cell)
                h = self.model.token_emb(torch.unsqueeze(x, 2).float(), output_weight=0)
                h += self.model.pos_emb(ids)
                h = self.model.encoder(h, padding)
                merged = [h[:, -1, :], h[:, -2, :], torch.max(h[:, :-2, :], dim=1)[0], torch.mean(h[:, :-2, :], dim=1)]
                rows.append(torch.concat(merged, axis=1).cpu().numpy())
        return np.concatenate(rows)


class UCE(Official):
    """``eval_data.py`` and ``model.py``: sentences cell by cell, the decoder on every token, batches of 25."""

    batch = 25

    def load(self) -> None:
        """Load the 4-layer model with its token table, genes with their places, counts as 64-bit integers."""
        import pickle

        import pandas as pd
        import torch

        sys.path.insert(0, str(self.clones / "UCE"))
        from eval_data import MultiDatasetSentenceCollator, sample_cell_sentences
        from model import TransformerModel

        top = self.weights / "model_files"
        state = torch.load(top / "4layer_model.torch", weights_only=True, mmap=True)
        self.model = TransformerModel(
            token_dim=5120, d_model=1280, nhead=20, d_hid=5120, nlayers=4, dropout=0.05, output_dim=1280
        )
        table = torch.nn.Embedding.from_pretrained(torch.empty_like(state["pe_embedding.weight"], device="meta"))
        self.model.pe_embedding = table
        self.model.load_state_dict(state, strict=False, assign=True)
        self.model.eval()
        names = torch.load(
            top / "protein_embeddings" / "Homo_sapiens.GRCh38.gene_symbol_to_embedding_ESM2.pt", weights_only=True
        )
        offset = pickle.loads((top / "species_offsets.pkl").read_bytes())["human"]
        numbers = {name: i + offset for i, name in enumerate(names)}
        places = pd.read_csv(top / "species_chrom.csv").set_index("gene_symbol")
        codes = pd.Series(pd.Categorical(places["species"] + "_" + places["chromosome"]).codes, index=places.index)
        known = [name for name in self.adata.var_names if name in numbers]
        found = np.asarray((self.adata[:, known].X > 0).sum(0)).ravel() >= 10  # the filter of the official preparation
        known = list(np.array(known)[found])
        self.counts = self.adata[:, known].X.toarray().astype(np.int64)
        self.args = types.SimpleNamespace(
            pad_length=1536,
            sample_size=1024,
            cls_token_idx=3,
            CHROM_TOKEN_OFFSET=143574,
            chrom_token_right_idx=2,
            pad_token_idx=0,
        )
        self.where = {
            "dataset_to_protein_embeddings": {"x": torch.tensor([numbers[k] for k in known])},
            "dataset_to_chroms": {"x": codes[known]},
            "dataset_to_starts": {"x": places["start"][known].to_numpy()},
        }
        self.sample, self.collate = sample_cell_sentences, MultiDatasetSentenceCollator(self.args)
        self.batches = self.tokenize(self.n)

    def tokenize(self, n: int | None = None) -> list[tuple]:
        """Sample a sentence per cell and collate batches, as the data set and its collator do."""
        import torch

        items = []
        for i, cell in enumerate(self.counts[:n]):
            counts = torch.tensor(cell).unsqueeze(0)
            weights = torch.log1p(counts)
            weights = weights / torch.sum(weights)
            tokens, mask, length, sentence = self.sample(counts, weights, "x", self.args, **self.where)
            items.append((tokens, mask, i, length, sentence))
        return [self.collate(items[s : s + self.batch]) for s in range(0, len(items), self.batch)]

    def forward(self) -> np.ndarray:
        """Look up, norm, run the model."""
        import torch

        rows = []
        with torch.no_grad():
            for sentences, mask, *_ in self.batches:
                x = torch.nn.functional.normalize(self.model.pe_embedding(sentences.permute(1, 0).long()), dim=2)
                rows.append(self.model.forward(x, mask=mask)[1].cpu().numpy())
        return np.vstack(rows)


class ScCello(Official):
    """``from_h5ad_adata`` + ``TranscriptomeTokenizer``; ``PrototypeContrastiveForMaskedLM`` with hidden states, batches
    of 24 in file order.
    """

    def load(self) -> None:
        """Load model and tokenizer; the ontology, which only the training losses read, is left empty."""
        import pickle

        import torch

        without("wandb", "ipdb", "rdflib", "easydict", "pytz", "psutil")
        top = self.clones / "scCello"
        package("sccello", top / "sccello")
        package("sccello.src", top / "sccello" / "src")
        package("sccello.src.utils", top / "sccello" / "src" / "utils")
        sys.modules["sccello.src"].utils = sys.modules["sccello.src.utils"]
        ontology = types.ModuleType("sccello.src.cell_ontology")
        ontology.get_forbidden_cell_type_contrast = lambda *_: np.zeros((1, 1))
        ontology.get_hierarchy_cell_type_contrast = lambda *_: (np.zeros((1, 1)),)
        sys.modules["sccello.src.cell_ontology"] = sys.modules["sccello.src"].cell_ontology = ontology
        loading = types.ModuleType("sccello.src.utils.data_loading")
        folder = self.weights / "token_vocabulary"
        stored = {
            f"{k}_pkl": pickle.loads((folder / f"{k}.pkl").read_bytes())
            for k in ("token_dictionary", "gene_median_dictionary")
        }
        stored["token_dictionary_pkl"]["<cls>"] = len(stored["token_dictionary_pkl"])
        loading.get_prestored_data = stored.__getitem__
        sys.modules["sccello.src.utils.data_loading"] = sys.modules["sccello.src.utils"].data_loading = loading
        from sccello.src.data.data_proc import ProcessSingleCellData
        from sccello.src.data.tokenizer import TranscriptomeTokenizer
        from sccello.src.model_prototype_contrastive import PrototypeContrastiveForMaskedLM
        from transformers import BertConfig

        config = BertConfig.from_json_file(self.weights / "config.json")
        config.total_logging_steps, config.output_hidden_states, config._attn_implementation = 1, True, "eager"
        self.model = PrototypeContrastiveForMaskedLM(config)
        state = torch.load(self.weights / "pytorch_model.bin", weights_only=True)
        self.missing = self.model.load_state_dict(state, strict=False).missing_keys
        self.model.to(self.spec["device"]).eval()
        self.process, self.tokenizer = ProcessSingleCellData, TranscriptomeTokenizer(num_proc=None)
        self.adata.obs["is_primary_data"] = True
        for column in (
            "disease",
            "donor_id",
            "cell_type_ontology_term_id",
            "cell_type",
            "tissue",
            "tissue_ontology_term_id",
            "development_stage",
        ):
            self.adata.obs[column] = "x"
        self.adata.raw = self.adata
        self.data = self.tokenize(self.n)

    def tokenize(self, n: int | None = None) -> Any:
        """Rank cell by cell, build the data set, cut it to 2,048 and measure lengths."""
        return self.tokenizer.tokenize(self.process.from_h5ad_adata(self.adata[:n].copy(), "synthetic"))

    def forward(self) -> np.ndarray:
        """Pad each batch of 24 to its longest cell and keep ``<cls>`` of the last layer."""
        import torch

        rows = []
        with torch.no_grad():
            for start in range(0, len(self.data), 24):
                ids = [torch.tensor(x) for x in self.data[start : start + 24]["input_ids"]]
                batch = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self.spec["device"])
                rows.append(self.model(input_ids=batch, attention_mask=(batch != 0).long()).logits[:, -1].cpu().numpy())
        return np.concatenate(rows)


class Nicheformer(Official):
    """``NicheformerDataset`` and ``get_embeddings``: 1,500 tokens whatever the cell, batches of 32."""

    def load(self) -> None:
        """Load the model; the cells are already in the order of its genes."""
        import torch

        top = self.clones / "nicheformer" / "src" / "nicheformer"
        package("nicheformer", top)
        package("nicheformer.models", top / "models")
        package("nicheformer.data", top / "data")
        import anndata
        import pandas as pd
        from nicheformer.data.dataset import NicheformerDataset
        from nicheformer.models._nicheformer import Nicheformer as Model
        from scipy import sparse

        torch.serialization.add_safe_globals([np._core.multiarray.scalar, np.dtype, np.dtypes.Float64DType])
        content = torch.load(self.weights / "nicheformer.ckpt", weights_only=True)
        more = {"lr": 1e-4, "warmup": 1, "batch_size": 32, "max_epochs": 1}
        self.model = Model(**content["hyper_parameters"], **more)
        self.model.load_state_dict(content["state_dict"], strict=False)
        self.model.to(self.spec["device"]).eval()
        names = anndata.read_h5ad(self.weights / "model.h5ad").var_names
        at = pd.Index(names).get_indexer(self.adata.var["ensembl_id"])
        found = self.adata.X.tocoo()
        keep = at[found.col] >= 0
        counts = sparse.csr_matrix(
            (found.data[keep].astype(np.float64), (found.row[keep], at[found.col[keep]])),
            shape=(self.adata.n_obs, len(names)),
        )
        obs = pd.DataFrame(
            {"nicheformer_split": "train", "modality": 3, "specie": 5, "assay": 11}, index=self.adata.obs_names
        )
        self.aligned, self.dataset = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=names)), NicheformerDataset
        self.means = np.load(self.weights / "dissociated_mean_script.npy")
        self.data = self.tokenize(self.n)

    def tokenize(self, n: int | None = None) -> Any:
        """Build the data set, which densifies 1,000 cells at a time."""
        return self.dataset(
            self.aligned[:n],
            self.means.copy(),
            max_seq_len=1500,
            aux_tokens=30,
            chunk_size=1000,
            metadata_fields={"obs": ["modality", "specie", "assay"]},
        )

    def forward(self) -> np.ndarray:
        """Run batches of 32 through ``get_embeddings``."""
        import torch

        rows = []
        with torch.no_grad():
            for batch in torch.utils.data.DataLoader(self.data, batch_size=32, shuffle=False, num_workers=0):
                moved = {k: v.to(self.spec["device"]) for k, v in batch.items()}
                rows.append(self.model.get_embeddings(moved, layer=-1, with_context=False).cpu().numpy())
        return np.concatenate(rows)


class CellPLM(Official):
    """``CellEmbeddingPipeline.predict`` over all cells at once; a forward pass includes reading the counts."""

    def load(self) -> None:
        """Load the model with a head that only embeds; the cells are indexed by Ensembl id."""
        top = self.clones / "CellPLM" / "CellPLM"
        package("CellPLM", top)
        from CellPLM.pipeline import load_pretrain
        from CellPLM.pipeline.cell_embedding import CellEmbeddingPipeline
        from CellPLM.utils.data import TranscriptomicDataset

        config = next(self.weights.glob("*.config.json"))
        decoder = {"dec_mod": "mlp", "dec_hid": 64, "dec_layers": 2, "head_type": "embedder"}
        self.pipeline, self.dataset = CellEmbeddingPipeline.__new__(CellEmbeddingPipeline), TranscriptomicDataset
        self.pipeline.fitted, self.pipeline.model = (
            False,
            load_pretrain(config.name.removesuffix(".config.json"), decoder, str(self.weights)),
        )
        self.adata.var_names = self.adata.var["ensembl_id"].astype(str).to_list()

    def tokenize(self) -> Any:
        """Keep the genes of the model, make the sparse tensor."""
        return self.dataset(
            self.pipeline.common_preprocess(self.adata, 0, None, ensembl_auto_conversion=False), order_required=True
        )

    def forward(self) -> np.ndarray:
        """Embed all cells as one group."""
        return (
            self.pipeline.predict(self.adata, device=self.spec["device"], ensembl_auto_conversion=False).cpu().numpy()
        )


SIDES: dict[str, type[Official]] = {
    "scgpt": ScGPT,
    "geneformer": Geneformer,
    "geneformer-v2": GeneformerV2,
    "scfoundation": ScFoundation,
    "uce": UCE,
    "sccello": ScCello,
    "nicheformer": Nicheformer,
    "cellplm": CellPLM,
}
