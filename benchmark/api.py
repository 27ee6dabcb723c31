"""The one module that a plugin imports: its contract, and the data it is handed.

Nothing here knows of data sets, architectures, files or the runner. What a task holds is what its threat model allows.
"""

from benchmark.contracts.backdoor import (
    AttackTask,
    BackdoorAttack,
    BackdoorDefense,
    DefenseTask,
    PoisonedTrainingTask,
    Stamp,
    TrainingDefense,
    Trigger,
)
from benchmark.contracts.common import (
    Augmentation,
    Diverged,
    Progress,
    Recipe,
    Split,
    Unsupported,
    derive_seed,
    steps_per_epoch,
)
from benchmark.contracts.insertion import insert_before
from benchmark.contracts.plugin import (
    AttackInfo,
    DefenseInfo,
    PluginInfo,
    backdoor_attack,
    backdoor_defense,
    training_defense,
    unlearning_method,
)
from benchmark.contracts.unlearning import UnlearningMethod, UnlearningTask
from benchmark.errors import MedsafeError, unknown

__all__ = [
    "AttackInfo",
    "AttackTask",
    "Augmentation",
    "BackdoorAttack",
    "BackdoorDefense",
    "DefenseInfo",
    "DefenseTask",
    "Diverged",
    "MedsafeError",
    "PluginInfo",
    "PoisonedTrainingTask",
    "Progress",
    "Recipe",
    "Split",
    "Stamp",
    "TrainingDefense",
    "Trigger",
    "UnlearningMethod",
    "UnlearningTask",
    "Unsupported",
    "backdoor_attack",
    "backdoor_defense",
    "derive_seed",
    "insert_before",
    "steps_per_epoch",
    "training_defense",
    "unknown",
    "unlearning_method",
]
