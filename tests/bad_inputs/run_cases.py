"""Samplesheets, parameters, YAML, imported embeddings, recipes and addresses that are not valid."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from bad_inputs.anndata_cases import SHEET, check_argv
from bad_inputs.harness import Case
from helpers_data import make_adata, write

HEAD = "dataset,h5ad,batch_key,label_key"
SHEETS: dict[str, tuple[str, str]] = {
    "empty": ("", "empty"),
    "header_only": (f"{HEAD}\n", "empty"),
    "ragged": (f"{HEAD}\nd,d.h5ad,batch\n", "row 2 has 3 values"),
    "column_twice": (f"{HEAD},dataset\nd,d.h5ad,batch,cell_type,e\n", "more than once"),
    "column_unknown": (f"{HEAD},colour\nd,d.h5ad,batch,cell_type,red\n", "unknown column 'colour'"),
    "column_missing": ("dataset,h5ad,batch_key\nd,d.h5ad,batch\n", "no column 'label_key'"),
    "name_twice": (f"{HEAD}\nd,d.h5ad,batch,cell_type\nd,d.h5ad,batch,cell_type\n", "names must be unique"),
    "name_of_path": (f"{HEAD}\n../x,d.h5ad,batch,cell_type\n", "'../x' is not allowed"),
    "name_of_dots": (f"{HEAD}\na.b,d.h5ad,batch,cell_type\n", "'a.b' is not allowed"),
    "ending": (f"{HEAD}\nd,d.rds,batch,cell_type\n", "ending in .h5ad"),
    "key_absent": (f"{HEAD}\nd,d.h5ad,bach,cell_type\n", "Did you mean 'batch'"),
    "key_of_plus": (f"{HEAD}\nd,d.h5ad,batch+,cell_type\n", "is not a key"),
    "keys_alike": (f"{HEAD}\nd,d.h5ad,batch,batch\n", "the batch can't be the label"),
    "layer_absent": (f"{HEAD},counts_layer\nd,d.h5ad,batch,cell_type,raw\n", "asks for counts in 'raw'"),
    "genes_absent": (f"{HEAD},gene_id_column\nd,d.h5ad,batch,cell_type,id\n", "no column 'id'"),
    "obsm_absent": (f"{HEAD},embeddings\nd,d.h5ad,batch,cell_type,obsm:X_a\n", "no obsm key 'X_a'"),
    "embedding_absent": (f"{HEAD},embeddings\nd,d.h5ad,batch,cell_type,a=e.csv\n", "'e.csv' does not exist"),
    "role": (f"{HEAD},batch_role\nd,d.h5ad,batch,cell_type,both\n", "technical, biological or mixed"),
}
PARAMS: dict[str, tuple[dict[str, object], str]] = {
    "seeds_squared": ({"seeds": "0,²"}, "--seeds"),
    "seeds_negative": ({"seeds": -1}, "--seeds"),
    "seeds_32_bits": ({"seeds": "4294967296"}, "--seeds"),
    "seeds_int_32_bits": ({"seeds": 2**32}, "--seeds"),
    "seeds_endless": ({"seeds": "9" * 5000}, "--seeds"),
    "seeds_words": ({"seeds": "one"}, "--seeds"),
    "seeds_gap": ({"seeds": "0,,1"}, "--seeds"),
    "methods": ({"methods": "harmny"}, "Did you mean 'harmony'"),
    "controls": ({"controls": "pca"}, "belongs to --methods"),
    "corrections": ({"corrections": "centre"}, "unknown correction"),
    "all_and_one": ({"methods": "all,pca"}, "'all' can't be combined"),
    "models": ({"models": "gpt"}, "--models"),
    "unknown": ({"n_hvgs": 10}, "--n_hvg"),
    "type": ({"n_hvg": "many"}, "expected a whole number"),
    "list": ({"n_hvg": [1, 2]}, "--n_hvg"),
    "map": ({"n_pcs": {"a": 1}}, "--n_pcs"),
    "range": ({"n_pcs": 0}, "at least 2"),
    "file": ({"hvg_force": "no.txt"}, "does not exist"),
}
BOMB = "a: &a [x, x]\n" + "".join(
    f"{c}: &{c} [*{b}, *{b}, *{b}]\n" for b, c in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)
YAMLS: dict[str, tuple[bytes, str]] = {
    "date": (b"scgpt: 2024-13-45\n", "a value can't be read"),
    "deep": (b"[" * 5000, "deeper than 20 levels"),
    "bomb": (BOMB.encode(), "aliases"),
    "recursive": (b"scgpt: &a {x: *a}\n", "aliases"),
    "tab": (b"scgpt:\n\tx: 1\n", "not valid YAML"),
    "bytes": (b"\xff\xfe\x00", "not text in UTF-8"),
    "control": (b"a: \x07\n", "not valid YAML"),
    "object": (b"!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    "list": (b"- scgpt\n", "holds a list"),
    "twice": (b"scgpt: {}\nscgpt: {}\n", "more than once"),
    "unknown": (b"scgtp: {}\n", "Did you mean 'scgpt'"),
    "scalar": (b"scgpt: 3\n", "holds '3'"),
    "setting": (b"scgpt: {lenght: 3}\n", "scgpt"),
    "list_key": (b"[a]: 1\n", ""),
    "two_documents": (b"--- {}\n--- {}\n", ""),
}


def _sheet(text: str, folder: Path) -> tuple[str, list[str]]:
    write(make_adata(), folder / "d.h5ad")
    return check_argv(folder, text)


def _params(params: dict[str, object], folder: Path) -> tuple[str, list[str]]:
    write(make_adata(), folder / "d.h5ad")
    return check_argv(folder, SHEET.format(file="d.h5ad"), **params)


def _options(text: bytes, folder: Path) -> tuple[str, list[str]]:
    (folder / "m.yml").write_bytes(text)
    write(make_adata(), folder / "d.h5ad")
    return check_argv(folder, SHEET.format(file="d.h5ad"), model_options=str(folder / "m.yml"))


IDS = [f"cell{i:03d}" for i in range(60)]
FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["d0", "d1", "d2"])
TABLE = FRAME.assign(cell_id=IDS)


def _parquet(path: Path, flip: int | None = None, **options: str) -> None:
    TABLE.to_parquet(path, index=False, **options)
    if flip is not None:
        content = bytearray(path.read_bytes())
        content[flip : flip + 40] = bytes(40)
        path.write_bytes(bytes(content))


def _gz(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.write_bytes(edit(gzip.compress(TABLE.to_csv(index=False).encode())))


def _npz(path: Path, **arrays: object) -> None:
    np.savez(path, **arrays)


IMPORTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "absent": ("e.csv", lambda p: None, "does not exist"),
    "empty_csv": ("e.csv", lambda p: p.write_bytes(b""), "e.csv"),
    "csv_of_bytes": ("e.csv", lambda p: p.write_bytes(bytes(range(256)) * 9), "e.csv"),
    "csv_no_ids": ("e.csv", lambda p: FRAME.to_csv(p, index=False), "no column 'cell_id'"),
    "csv_text": ("e.csv", lambda p: TABLE.assign(d1="x").to_csv(p, index=False), "'d1'"),
    "csv_only_ids": ("e.csv", lambda p: TABLE[["cell_id"]].to_csv(p, index=False), "no column is left"),
    "csv_only_index": ("e.csv", TABLE[["cell_id"]].to_csv, "no column is left"),
    "csv_gap": ("e.csv", lambda p: TABLE.assign(cell_id=[None, *IDS[1:]]).to_csv(p, index=False), "without a cell id"),
    "csv_ragged": ("e.csv", lambda p: p.write_text("cell_id,d0\na,1,2,3\nb,1\n"), "e.csv"),
    "csv_two_indices": ("e.csv", lambda p: p.write_text("index,Unnamed: 0,d0\na,1,2\n"), "could all be the index"),
    "csv_names_twice": ("e.csv", lambda p: p.write_text("cell_id,d0,d0\na,1,2\n"), "more than one column"),
    "csv_wide": ("e.csv", lambda p: p.write_text("cell_id" + ",d" * 12_000 + "\n"), "--max_embedding_dims"),
    "csv_pipe": ("e.csv", os.mkfifo, "no ordinary file"),
    "gz_cut": ("e.csv.gz", lambda p: _gz(p, lambda b: b[:-20]), "e.csv.gz"),
    "gz_crc": ("e.csv.gz", lambda p: _gz(p, lambda b: b[:-8] + bytes(4) + b[-4:]), "e.csv.gz"),
    "gz_flip": ("e.csv.gz", lambda p: _gz(p, lambda b: b[:200] + bytes(30) + b[230:]), "e.csv.gz"),
    "gz_of_text": ("e.csv.gz", lambda p: p.write_text("cell_id,d0\n"), "e.csv.gz"),
    "parquet_of_text": ("e.parquet", lambda p: p.write_text("cell_id,d0\n"), "no parquet file"),
    "parquet_flip": ("e.parquet", lambda p: _parquet(p, 8), "e.parquet"),
    "parquet_footer": ("e.parquet", lambda p: _parquet(p, -60), "e.parquet"),
    "parquet_gzip_flip": ("e.parquet", lambda p: _parquet(p, 60, compression="gzip"), "e.parquet"),
    "parquet_no_ids": ("e.parquet", lambda p: FRAME.to_parquet(p, index=False), "no column 'cell_id'"),
    "npz_of_text": ("e.npz", lambda p: p.write_text("x"), "e.npz"),
    "npz_objects": ("e.npz", lambda p: _npz(p, cell_ids=np.array(IDS, dtype=object), X=FRAME), "without running code"),
    "npz_latin": ("e.npz", lambda p: _npz(p, cell_ids=np.array([b"\xff"] * 60), X=FRAME), "not UTF-8"),
    "npz_complex": ("e.npz", lambda p: _npz(p, cell_ids=np.array(IDS), X=FRAME.to_numpy() * 1j), "complex128"),
    "npz_other": ("e.npz", lambda p: _npz(p, a=FRAME), "expected an array of ids"),
    "kind": ("e.rds", lambda p: p.write_text("x"), "unknown kind of file"),
}


def _import(name: str, make: Callable[[Path], object], folder: Path) -> tuple[str, list[str]]:
    make(folder / name)
    pd.DataFrame({"cell_id": IDS, "batch": "b", "label": "l"}).to_parquet(folder / "obs.parquet")
    options = {
        "dataset": "d",
        "name": "e",
        "source": folder / name,
        "obs": folder / "obs.parquet",
        "outdir": folder / "out",
    }
    return "import_embedding", [part for k, v in options.items() for part in (f"--{k}", str(v))]


def _recipe_yaml(body: str) -> str:
    return f"name: r\nsources:\n  a: {body}\n"


RECIPES: dict[str, tuple[str, str]] = {
    "rename_index": (_recipe_yaml("{file: d.h5ad, rename: {batch: _index}}"), "can't be the name of a column"),
    "rename_empty": (_recipe_yaml("{file: d.h5ad, rename: {batch: ''}}"), ""),
    "set_empty": (_recipe_yaml("{file: d.h5ad, set: {'': x}}"), ""),
    "set_slash": (_recipe_yaml("{file: d.h5ad, set: {a/b: x}}"), "can't be the name of a column"),
    "paste_index": (_recipe_yaml("{file: d.h5ad, paste: {_index: [batch, donor]}}"), "can't be the name of a column"),
    "alias": ("name: &n r\nsources: {a: {file: *n}}\n", "aliases"),
    "deep": ("a: " + "[" * 3000, "deeper than 20 levels"),
    "date": (_recipe_yaml("2024-13-45"), "a value can't be read"),
    "empty": ("", ""),
    "list": ("- a\n", ""),
    "counts": (_recipe_yaml("{file: d.h5ad, counts: umi}"), "no layer 'umi'"),
    "column": (_recipe_yaml("{file: d.h5ad, keep: [{column: bach, in: [b0]}]}"), "Did you mean 'batch'"),
    "nothing_left": (_recipe_yaml("{file: d.h5ad, keep: [{column: batch, in: [b9]}]}"), "drops all"),
    "file_absent": (_recipe_yaml("{file: e.h5ad}"), "does not exist"),
}
ADDRESSES = {
    "scheme": ("ftp://host/file.h5ad", ""),
    "file": ("file:///etc/passwd", ""),
    "no_host": ("https:///file.h5ad", ""),
    "blank": ("https://host/a b.h5ad", ""),
    "newline": ("https://host/a\nb.h5ad", ""),
    "letters": ("https://höst/a.h5ad", ""),
    "port": ("https://host:port/a.h5ad", ""),
    "port_high": ("https://host:99999/a.h5ad", ""),
    "brackets": ("https://[::1/a.h5ad", ""),
    "http": ("http://example.org/a.h5ad", "--allow_http"),
    "only_scheme": ("https://", ""),
}


def _recipe(text: str, folder: Path) -> tuple[str, list[str]]:
    write(make_adata(), folder / "d.h5ad")
    (folder / "r.yml").write_text(text)
    return "apply_recipe", ["--recipe", str(folder / "r.yml"), "--dataset", "d", "--outdir", str(folder)]


def _address(url: str, folder: Path) -> tuple[str, list[str]]:
    return "fetch_dataset", ["--url", url, "--dest", str(folder / "data"), "--tries", "1"]


def cases() -> list[Case]:
    """Return all cases of this kind."""
    found = [Case(f"sheet_{n}", partial(_sheet, text), (w,)) for n, (text, w) in SHEETS.items()]
    found += [Case(f"params_{n}", partial(_params, params), (w,)) for n, (params, w) in PARAMS.items()]
    found += [Case(f"yaml_{n}", partial(_options, text), (w,)) for n, (text, w) in YAMLS.items()]
    found += [Case(f"import_{n}", partial(_import, file, make), (w,)) for n, (file, make, w) in IMPORTS.items()]
    found += [Case(f"recipe_{n}", partial(_recipe, text), (w,)) for n, (text, w) in RECIPES.items()]
    found += [Case(f"address_{n}", partial(_address, url), (w,)) for n, (url, w) in ADDRESSES.items()]
    return found
