"""Where searches, silhouettes and logistic probes are computed: by NumPy on the processor, or by PyTorch on a GPU."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from scfm.errors import SoftwareError

if TYPE_CHECKING:
    import numpy as np
    import torch

#: NumPy and its libraries; any other device is PyTorch's name of one (``cuda``, and in tests ``cpu:0``)
CPU = "cpu"


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add the device of a step that needs PyTorch on a GPU only."""
    parser.add_argument("--device", choices=[CPU, "cuda"], default=CPU, help="where to compute; cuda needs PyTorch")


def need_device(device: str) -> None:
    """Check that a device is there; the processor without PyTorch always is.

    Raises
    ------
    SoftwareError
        PyTorch is not installed, or finds no CUDA: another environment or node may have it, so that nothing is cached.
    """
    if device == CPU:
        return
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise SoftwareError(
            f"--device {device} needs PyTorch, which is not installed for {sys.executable}: use --device cpu, or an"
            " environment that has it (conf/gpu_scores.config names one)."
        ) from None
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SoftwareError(
            f"--device {device} was asked for and PyTorch {torch.__version__} finds no CUDA here: use --device cpu, or"
            " a node with a GPU of NVIDIA, its driver and a build of PyTorch for CUDA."
        )


def on_device(values: "np.ndarray", device: str) -> "torch.Tensor":
    """Return an array as a tensor on a device of PyTorch."""
    import numpy as np
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
