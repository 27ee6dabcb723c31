"""My method: what it does to an image, and to which images, in one sentence.

    stamp(x) = 255 - x in the bottom-right corner, x elsewhere

Source: authors, title, venue and year; on which data and network the default values below were published.
Authors' code differs: every difference to the paper is an option of its own; name each here.
"""

from dataclasses import dataclass

from torch import Tensor

from benchmark.api import AttackTask, Trigger, backdoor_attack

# As it stands this turns a corner into its negative. Replace the formula, then the stamp.


@backdoor_attack(
    "my_method",
    version=1,  # raise it with every change of what is computed: old records then no longer count as new ones
    # Further sets of hyper-parameters from the source, as changes to the defaults; `--attack-preset large` chooses one:
    # presets={"large": {"side_share": 0.4}},
    # Whose images are poisoned: those of all classes but the target ("others"), of the target alone ("target", for
    # clean-label attacks), or any ("all"):
    # victims="others",
)
@dataclass(frozen=True)
class MyMethod:
    """Each field is a hyper-parameter with its published value: int, float, bool, str or a Literal of these."""

    ratio: float = 0.1
    """Share of the training images that is poisoned; every attack has this field, and the suite draws the images."""
    side_share: float = 0.2
    """Side of the corner over that of the image."""

    def __post_init__(self) -> None:
        """Refuse what means nothing, in one line: the user reads it before anything is trained."""
        if not (0 < self.ratio < 1 and 0 < self.side_share <= 1):
            raise ValueError(f"ratio and side_share must lie in (0, 1), not {self.ratio} and {self.side_share}")

    def trigger(self, task: AttackTask) -> Trigger:
        """Draw or learn the trigger.

        The suite stamps and labels the poisoned images itself, trains the model by its own recipe, and stamps the test
        images: an attack is no more than this trigger.
        """
        # What the task holds is all that an attacker may see: the clean `train` images, which rows of them are
        # `poisoned`, the `target` class, `clean_model` (one of his own, to learn a trigger against), `generator`.
        # Randomness: `torch.rand(..., generator=task.generator)`. Seed no global generator, call no `.cuda()`.
        return Trigger(self.stamp)

    def stamp(self, images: Tensor) -> Tensor:
        """Stamp uint8 images (n, channels, height, width), all at once; leaves no image as it was."""
        side = max(1, round(self.side_share * min(images.shape[2:])))
        stamped = images.clone()
        stamped[..., -side:, -side:] = 255 - stamped[..., -side:, -side:]
        return stamped
