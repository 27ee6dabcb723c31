"""Which epoch is kept where checkpoints are selected: the official-accuracy control (PROTOCOL 2.1)."""

from collections.abc import Callable

from torch import Tensor, nn

from benchmark.api import Split
from benchmark.training import predict


class BestEpoch:
    """Keeps the weights of the epoch with the best macro-AUC on validation."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels.cpu().numpy()
        self.auc, self.state = -1.0, dict[str, Tensor]()

    def __call__(self, model: nn.Module) -> None:
        """Look at the model after an epoch."""
        from metrics.accuracy import macro_auc  # scikit-learn: seconds that a process without selection need not spend

        auc = macro_auc(predict(model, self.images).numpy(), self.labels)
        if auc > self.auc:
            self.auc = auc
            self.state = {name: tensor.clone() for name, tensor in model.state_dict().items()}


def train_selected(
    loop: Callable[..., nn.Module], images: Tensor, labels: Tensor, model: nn.Module, split: Split
) -> nn.Module:
    """Train in place, and end with the weights of the best epoch.

    Args:
        loop: the training loop, with everything bound but model, split and `after_epoch`.
        images: of the validation split, uint8 (n, channels, height, width).
        labels: int64 (n,).
        model: trained in place and returned.
        split: to train on.
    """
    best = BestEpoch(images, labels)
    loop(model, split, after_epoch=best)
    model.load_state_dict(best.state)
    return model
