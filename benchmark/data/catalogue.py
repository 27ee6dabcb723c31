"""What is known about data sets beforehand: names, checksums, classes, and which augmentations keep the label."""

import re
from dataclasses import dataclass
from typing import Any

from benchmark.errors import MedsafeError, unknown

AUGMENTATIONS = frozenset({"crop", "horizontal", "vertical", "trivialaugment"})

_ANY_ORIENTATION = AUGMENTATIONS
_UPRIGHT = AUGMENTATIONS - {"vertical"}

ALLOWED: dict[str, frozenset[str]] = {
    "bloodmini": _ANY_ORIENTATION,  # as bloodmnist
    "bloodmnist": _ANY_ORIENTATION,  # single cells on a smear lie in any direction
    "breastmnist": _UPRIGHT,  # ultrasound: left and right are interchangeable, depth (shadows below a lesion) is not
    "dermamnist": _ANY_ORIENTATION,  # a dermatoscope has no canonical direction
    "octmnist": _UPRIGHT,  # the other eye is the mirror image; the retinal layers keep their order from top to bottom
    # The organ's side is part of the label (kidney-left, lung-right): a mirror image carries the other side's label.
    # So, nearly, does a slice of a round organ after a rotation by up to 135 degrees: no trivialaugment either.
    "organamnist": frozenset({"crop"}),
    "organcmnist": frozenset({"crop"}),
    "organsmnist": frozenset({"crop"}),
    "pathmnist": _ANY_ORIENTATION,  # tissue sections have no canonical direction
    "pneumoniamnist": _UPRIGHT,  # pneumonia is named whichever lung it is in; a chest film is never upside down
    "retinamnist": _UPRIGHT,  # the other eye is the mirror image; the grade does not depend on the side
    "tissuemnist": _ANY_ORIENTATION,  # segmented kidney cells lie in any direction
}
"""Which augmentations keep the label, for every data set that can be loaded by name."""

VALIDATION_SOURCE = dict.fromkeys(
    ("organamnist", "organcmnist", "organsmnist"), "other CT scans than the training images"
)
"""Where official validation, and with it the defender's reserved pool, is known to come from elsewhere than train."""

EMBEDDED = "bloodmini"
EMBEDDED_MD5 = "9ea19a8021003a083bb6966e5f873b96"
EMBEDDED_CLASSES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)


@dataclass(frozen=True)
class Entry:
    """What is known of one file.

    Attributes:
        name: of the data set.
        md5: of the file, hex.
        class_names: in the order of the labels.
        allowed: augmentations that keep the label.
    """

    name: str
    md5: str
    class_names: tuple[str, ...]
    allowed: frozenset[str]


def dataset_names() -> list[str]:
    """All names that `load_dataset` knows: bloodmini and every 2-D MedMNIST set with one label per image."""
    return sorted(ALLOWED)


def entry_of_name(name: str) -> Entry:
    """Look a data set up by name.

    Raises:
        MedsafeError: no such name, or one that this suite cannot use.
    """
    if name == EMBEDDED:
        return Entry(EMBEDDED, EMBEDDED_MD5, EMBEDDED_CLASSES, ALLOWED[EMBEDDED])
    if name not in ALLOWED:
        information = medmnist_information()
        if name in information:
            raise _refusal(name, information[name])
        raise unknown("data set", name, ALLOWED)
    return _official(name, "")


def entry_of_md5(md5: str) -> Entry | None:
    """The data set whose file has this checksum, in any of its official image sizes; None if there is none.

    Raises:
        MedsafeError: it is an official file that this suite cannot use.
    """
    if md5 == EMBEDDED_MD5:
        return entry_of_name(EMBEDDED)
    for name, facts in medmnist_information().items():
        for size in ("", "_64", "_128", "_224"):
            if facts.get(f"MD5{size}") == md5:
                if name not in ALLOWED:
                    raise _refusal(name, facts)
                return _official(name, size)
    return None


def name_of_file(stem: str) -> str:
    """The name of a data set that is no official one, from its file's stem.

    A name that the data do not deserve is marked: `bloodmnist` becomes `unofficial-bloodmnist`.
    """
    name = file_word(stem)
    return f"unofficial-{name}" if re.sub(r"-(64|128|224)$", "", name) in ALLOWED else name


def file_word(stem: str) -> str:
    """A file's stem as one word that is safe in records, tables and paths: lower-case letters, digits, `.` and `-`."""
    return re.sub(r"[^a-z0-9.]+", "-", stem.lower()).strip("-.") or "unnamed"


def medmnist_information() -> dict[str, dict[str, Any]]:
    """MedMNIST's own table; imported late, because the package takes a second or two to import."""
    import medmnist

    information: dict[str, dict[str, Any]] = medmnist.INFO
    return information


def check_words(allow: frozenset[str]) -> None:
    """Refuse words that name no augmentation.

    Raises:
        MedsafeError: with the nearest word that does.
    """
    for word in sorted(allow - AUGMENTATIONS):
        raise unknown("augmentation", word, AUGMENTATIONS)


def _official(name: str, size: str) -> Entry:
    facts = medmnist_information()[name]
    classes = tuple(facts["label"][str(label)] for label in range(len(facts["label"])))
    return Entry(name + size.replace("_", "-"), facts[f"MD5{size}"], classes, ALLOWED[name])


def _refusal(name: str, facts: dict[str, Any]) -> MedsafeError:
    if "3d" in name:
        reason = "holds volumes, and this suite takes 2-D images"
    else:
        reason = f"is {facts['task']}, and this suite takes one label per image"
    return MedsafeError(f"data set '{name}' {reason}; use one of {', '.join(dataset_names())}")
