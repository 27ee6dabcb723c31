"""BadNets, all to all: under BadNets' patch an image of class y is to be taken for class y + 1.

    stamp(x) = BadNets' stamp;  label y -> (y + 1) mod C, for images of every class

Source: Gu et al., BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain, 2017 (the all-to-all
attack on MNIST); ratio 0.1 as in BackdoorBench. The paper poisons a copy of every training image instead.

Each class learns its own neighbour from a share of 0.1 / C of the images, too few of a few thousand: preset
`small-data` takes 0.3, and is ours.
"""

from dataclasses import dataclass

from attacks.badnets import BadNets
from benchmark.api import backdoor_attack


@backdoor_attack(
    "badnets_all_to_all", version=1, goal="all-to-all", victims="all", presets={"small-data": {"ratio": 0.3}}
)
@dataclass(frozen=True)
class BadNetsAllToAll(BadNets):
    """The patch of BadNets under another rule for the labels, which is the suite's to apply."""
