"""Keep the weights of a training's best epoch in memory and put them back at its end.

scvi-tools' own callback (``SaveCheckpoint``) writes the whole model to disk at every improvement and reads it back with
pickle; a copy of the tensors is enough and leaves no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

#: the quantity that early stopping watches, too; lower is better
MONITOR = "elbo_validation"


def best_epoch_callback() -> "Callback":
    """Return a Lightning callback that restores the weights of the epoch with the lowest validation loss.

    Its attributes: ``best_epoch`` (1-based, None before the first validation) and ``best_loss``. The first of equally
    good epochs counts.
    """
    from lightning.pytorch.callbacks import Callback

    class BestEpoch(Callback):
        def __init__(self) -> None:
            self.best_epoch: int | None = None
            self.best_loss = float("inf")
            self._weights: dict = {}

        def on_validation_end(self, trainer, pl_module) -> None:
            loss = float(trainer.callback_metrics[MONITOR])
            if not trainer.sanity_checking and loss < self.best_loss:
                self.best_loss, self.best_epoch = loss, trainer.current_epoch + 1
                self._weights = {k: v.detach().clone() for k, v in pl_module.module.state_dict().items()}

        def on_train_end(self, trainer, pl_module) -> None:
            if self.best_epoch is not None:
                pl_module.module.load_state_dict(self._weights)
                self._weights = {}

    return BestEpoch()


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let PyTorch compute with a fixed number of threads, whatever the task has; the former number is set again.

    The order in which threads add up changes the last digits, and training makes them grow.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
