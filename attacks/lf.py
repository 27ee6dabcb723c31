"""LF: one smooth additive pattern, without the high frequencies that give other triggers away.

    delta = g * v,   v in [-a, a],   chosen so that a clean model takes x + delta for the target;   a = 51/255
    stamp(x) = x + delta

g is a Gaussian low-pass, applied to v at every step (in the Fourier domain): smooth and bounded by construction, since
a weighted mean of v exceeds no bound of v.

Source: Zeng et al., Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective, ICCV 2021. Drawn anew for every
data set on a clean model of the attacker's own; patterns shipped with BackdoorBench lie in 0 to 51 of 255.

Ours: the paper adds up, image by image, DeepFool's smallest perturbations towards the target and low-passes the sum
until enough images are fooled. Here v takes steps down the gradient of the cross-entropy towards the target on
mini-batches, each scaled to a largest entry of `step_share * a`, until `fooled_share` of a batch's images from other
classes are taken for the target (0.8, as is usual for universal perturbations), or `steps` are over. Models that never
saw the pattern obey it too, to a degree: what a defence is measured against is the oracle under the same stamp. The
pattern may darken as well as brighten, for images that are white at the border.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from attacks._stamps import check_positive, check_ratios, check_shares, to_pixels
from benchmark.api import AttackTask, Trigger, backdoor_attack


@backdoor_attack("lf", version=1)
@dataclass(frozen=True)
class Lf:
    ratio: float = 0.1
    amplitude: float = 51 / 255
    """a: largest change of a pixel."""
    smoothness: float = 1 / 16
    """Standard deviation of the low-pass over the image's smaller side."""
    steps: int = 500
    step_share: float = 0.1
    fooled_share: float = 0.8
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Refuse shares and steps out of range."""
        check_ratios(self.ratio)
        shares = {"amplitude": self.amplitude, "step_share": self.step_share, "fooled_share": self.fooled_share}
        check_shares(**shares)
        check_positive(smoothness=self.smoothness, steps=self.steps, batch_size=self.batch_size)

    def trigger(self, task: AttackTask) -> Trigger:
        """Learn the pattern on the attacker's clean model."""
        pattern = self.pattern(task)
        return Trigger(lambda images: to_pixels(images.float() + 255 * pattern))

    def pattern(self, task: AttackTask) -> Tensor:
        """The pattern: float32 (channels, height, width) in [-amplitude, amplitude]."""
        model = task.clean_model().eval()
        free = torch.zeros(task.train.images.shape[1:], device=task.train.images.device)
        batches = task.train.fork("lf").batches(self.batch_size, steps=self.steps, augment=False)
        for images, labels in task.progress(batches, "lf"):
            others = images[labels != task.target]
            if len(others) == 0:
                continue
            gradient, fooled = self.slope(model, others, free, task.target)
            if fooled >= self.fooled_share and free.any():  # a pattern it is to be, however willing the model
                break
            free -= self.step_share * self.amplitude * gradient / gradient.abs().max().clamp(min=1e-12)
            free.clamp_(-self.amplitude, self.amplitude)
        return self.smooth(free)

    def slope(self, model: nn.Module, images: Tensor, free: Tensor, target: int) -> tuple[Tensor, float]:
        """Gradient of the loss with respect to the pattern before the low-pass, and the share of images fooled."""
        free = free.detach().requires_grad_()
        logits = model((images + self.smooth(free)).clamp(0, 1))
        loss = cross_entropy(logits, torch.full((len(images),), target, device=images.device))
        (gradient,) = torch.autograd.grad(loss, free)
        return gradient, float((logits.argmax(1) == target).float().mean())

    def smooth(self, pattern: Tensor) -> Tensor:
        """Low-pass: a Gaussian in space is one among the frequencies."""
        height, width = pattern.shape[1:]
        down = torch.fft.fftfreq(height, device=pattern.device)[:, None]
        across = torch.fft.rfftfreq(width, device=pattern.device)[None, :]
        spread = self.smoothness * min(height, width)
        response = torch.exp(-2 * (torch.pi * spread) ** 2 * (down**2 + across**2))
        smooth: Tensor = torch.fft.irfft2(torch.fft.rfft2(pattern) * response, s=(height, width))
        return smooth
