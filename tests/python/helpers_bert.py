"""Slow, plain reference of rank-token BERT models, and tiny checkpoints of any size for them."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file


def tiny_config(vocab_size: int, **more: Any) -> dict[str, Any]:
    """Return a ``config.json`` with sizes that nothing divides but the heads."""
    return {
        "hidden_size": 18,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 11,
        "max_position_embeddings": 23,
        "vocab_size": vocab_size,
        "type_vocab_size": 2,
        "hidden_act": "relu",
        "layer_norm_eps": 1e-12,
        "model_type": "bert",
        **more,
    }


def bert_tensors(config: Mapping[str, Any], constants: Mapping[str, int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Return random tensors of a BERT; ``constants`` names embeddings added to every token, with their rows."""
    generator = torch.Generator().manual_seed(seed)
    d, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], d),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], d),
        **{f"embeddings.{name}.weight": (rows, d) for name, rows in constants.items()},
    }
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        dense = {
            "attention.self.query": (d, d),
            "attention.self.key": (d, d),
            "attention.self.value": (d, d),
            "attention.output.dense": (d, d),
        }
        dense |= {"intermediate.dense": (inner, d), "output.dense": (d, inner)}
        for name, shape in dense.items():
            shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
    tensors = {f"bert.{name}": torch.randn(shape, generator=generator) * 0.4 for name, shape in shapes.items()}
    norms = ["bert.embeddings.LayerNorm"]
    norms += [
        f"bert.encoder.layer.{i}.{name}.LayerNorm"
        for i in range(config["num_hidden_layers"])
        for name in ("attention.output", "output")
    ]
    for name in norms:
        tensors[f"{name}.weight"] = 1 + 0.3 * torch.randn(d, generator=generator)
        tensors[f"{name}.bias"] = 0.3 * torch.randn(d, generator=generator)
    return tensors


def save_model(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], *, name: str = "model.safetensors"
) -> None:
    """Write ``config.json`` and the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if name.endswith(".safetensors"):
        save_file(dict(tensors), folder / name)
    else:
        torch.save(dict(tensors), folder / name)


def dump(path: Path, content: Any) -> None:
    """Write a pickle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))


def slow_hidden_states(
    ids: Sequence[int], config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], constants: Sequence[str]
) -> list[np.ndarray]:
    """Return all hidden states of ONE cell, float64, straight from the definition: (layers + 1) x (length, width)."""
    t = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    x = (
        t["bert.embeddings.word_embeddings.weight"][list(ids)]
        + t["bert.embeddings.position_embeddings.weight"][: len(ids)]
    )
    for name in constants:
        x = x + t[f"bert.embeddings.{name}.weight"][0]
    return slow_layers(slow_norm(x, t, "bert.embeddings.LayerNorm", config["layer_norm_eps"]), config, tensors)


def slow_norm(x: np.ndarray, t: Mapping[str, np.ndarray], name: str, eps: float) -> np.ndarray:
    """Return the layer norm of every row."""
    centred = x - x.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True) + eps) * t[f"{name}.weight"] + t[f"{name}.bias"]


def slow_layers(x: np.ndarray, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> list[np.ndarray]:
    """Return the states before the first layer and after each, of ONE cell without padding, float64."""
    t = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def act(x: np.ndarray) -> np.ndarray:
        if config["hidden_act"] == "relu":
            return np.maximum(x, 0)
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    states = [x]
    for i in range(config["num_hidden_layers"]):
        at, x = f"bert.encoder.layer.{i}", states[-1]
        q, k, v = (linear(x, f"{at}.attention.self.{name}") for name in ("query", "key", "value"))
        mixed = []
        for rows in np.split(np.arange(x.shape[1]), heads):
            scores = q[:, rows] @ k[:, rows].T / math.sqrt(len(rows))
            weights = np.exp(scores - scores.max(1, keepdims=True))
            mixed.append(weights / weights.sum(1, keepdims=True) @ v[:, rows])
        x = slow_norm(
            x + linear(np.hstack(mixed), f"{at}.attention.output.dense"), t, f"{at}.attention.output.LayerNorm", eps
        )
        inner = act(linear(x, f"{at}.intermediate.dense"))
        states.append(slow_norm(x + linear(inner, f"{at}.output.dense"), t, f"{at}.output.LayerNorm", eps))
    return states
