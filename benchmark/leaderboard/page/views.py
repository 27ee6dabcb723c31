"""What the page shows of each CSV before a reader asks for all columns: data alone, read by `templates/table.js`."""

from dataclasses import dataclass, replace

from benchmark.leaderboard.backdoor.duels import CORE_ATTACKS


@dataclass(frozen=True)
class Shown:
    """One column of a view: a value of the CSV, and what stands beside and below it, by the names of their columns."""

    title: str
    column: str
    """What is shown, and sorted by."""
    high: str | None = None
    """Upper end of the value's interval; half of its width is shown behind ±."""
    verdict: str | None = None
    """matches, differs or undetermined; shown as a mark."""
    gap: str | None = None
    """Signed distance to the target: printed below, and the cell's colour; the value itself where it is one."""
    below: tuple[tuple[str, str], ...] = ()
    """What else is printed below: words with {} in place of the value, and its column."""


@dataclass(frozen=True)
class Filter:
    """One choice among the values of a column, or of several together."""

    title: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """One tab: a CSV file, which of its rows compete, and which columns come first."""

    key: str
    title: str
    file: str
    about: str
    name: str
    """Column with the method's name, which heads a row."""
    kind: str
    """The registry's kind of these methods: their cards are found by it."""
    group: tuple[str, ...]
    """Rows compete where these are equal."""
    heading: tuple[str, ...]
    """How a group is called."""
    details: tuple[tuple[str, str], ...]
    """What else is said of it, as `below`."""
    target: str
    """The model that gaps are measured to."""
    references: tuple[tuple[str, str], ...]
    """Models that head a group, and the prefix of the columns with their scores."""
    filters: tuple[Filter, ...]
    shown: tuple[Shown, ...]


SETTING = (Filter("Data set", ("dataset",)), Filter("Architecture", ("architecture",)))
RECIPE = Filter("Recipe", ("recipe", "augmentation"))
DEFENDER = (Filter("Pool", ("pool",)), Filter("Power", ("power",)))
STANDING = Filter("Standing", ("standing",))
IDENTITY = (("setting {}", "setting"), ("protocol {}", "protocol_version"))
RANK = Shown("Rank", "rank", below=(("{}", "standing"),))
BLOCKS = Shown("Blocks", "blocks")
COST = Shown("Cost", "flops_share", below=(("{} s", "seconds"),))
VERIFIED = Shown("Verified", "verified")
AVERAGE_GAP = Shown("Avg. gap", "avg_gap", "avg_gap_high", below=(("null {}", "avg_gap_null"),))
KL = Shown("KL, nats", "kl_forget", "kl_forget_high", below=(("null {}", "kl_forget_null"),))
AT_LEAST = (("Retrain {}", "retrain_relearn_steps"), ("{} gave up at 200", "relearn_steps_capped"))
RELEARN = Shown("Relearn, steps", "relearn_steps", "relearn_steps_high", below=AT_LEAST)


def _to_retrain(title: str, metric: str) -> Shown:
    return Shown(title, metric, f"{metric}_high", f"{metric}_verdict", f"{metric}_difference")


def _to_oracle(title: str, metric: str) -> Shown:
    return Shown(title, metric, f"{metric}_high", gap=f"{metric}_gap")


def _gap(title: str, column: str) -> Shown:
    return Shown(title, column, f"{column}_high", gap=column)


UNLEARNING = View(
    key="unlearning",
    title="Unlearning",
    file="unlearning.csv",
    about="A model was asked to forget some of its training images. Good is what comes close to Retrain, the model "
    "trained without them, and not what is high or low. Avg. gap is the mean distance to Retrain over the four "
    "headline metrics; Retrains differ among themselves as well, and that distance is the null.",
    name="method",
    kind="unlearning",
    group=("setting",),
    heading=("dataset", "architecture", "recipe", "augmentation", "scenario"),
    details=(("{} Retrains", "retrains"), *IDENTITY),
    target="Retrain",
    references=(("Original, before", "original"), ("Retrain, the target", "retrain")),
    filters=(*SETTING, RECIPE, Filter("Scenario", ("scenario",)), STANDING),
    shown=(
        RANK,
        Shown("Method", "method"),
        _to_retrain("UA", "ua"),
        _to_retrain("RA", "ra"),
        _to_retrain("TA", "ta"),
        _to_retrain("MIA", "mia_svc"),
        AVERAGE_GAP,
        Shown("AUC", "mia_loss_auc", below=(("Retrain {}", "retrain_mia_loss_auc"),)),
        KL,
        COST,
        BLOCKS,
        VERIFIED,
    ),
)
AUDITS = replace(
    UNLEARNING,
    key="audits",
    title="Audits",
    file="audits.csv",
    about="Stronger attacks on the same question: LiRA and RMIA know models that were trained on random halves of the "
    "data, and judge each image by itself. A block is a target of such a pool. Good is again what comes close to "
    "Retrain. Removed is the share of the Original's exposure that is gone; relearn time is how soon a model knows its "
    "forget set again; the probe asks the features, whatever the last layer says.",
    details=(("{} shadows", "shadows"), ("{} Retrains", "retrains"), *IDENTITY),
    shown=(
        Shown("Method", "method"),
        _to_retrain("LiRA AUC", "lira_auc"),
        _to_retrain("LiRA TPR at 1 %", "lira_tpr_1"),
        _to_retrain("RMIA AUC", "rmia_auc"),
        Shown("Removed", "lira_removed", "lira_removed_high"),
        _to_retrain("Retained", "lira_retain_auc"),
        KL,
        _to_retrain("Probe", "probe_forget"),
        RELEARN,
        AVERAGE_GAP,
        BLOCKS,
    ),
)
OVERVIEW = View(
    key="backdoor",
    title="Backdoor defence",
    file="backdoor.csv",
    about="Part of the training images was poisoned. Good is what comes close to the oracle, the model trained without "
    f"the poison. Defences are ranked over the core attacks alone ({' and '.join(CORE_ATTACKS)}), by how many of them "
    "they cure in every block, then by what is left; those with other powers compete apart.",
    name="defense",
    kind="defenses",
    group=("setting", "power"),
    heading=("dataset", "architecture", "recipe", "augmentation", "pool", "power"),
    details=IDENTITY,
    target="the oracle",
    references=(),
    filters=(*SETTING, RECIPE, *DEFENDER, STANDING),
    shown=(
        RANK,
        Shown("Defence", "defense"),
        Shown("Core cured", "core_cured"),
        Shown("Residual", "residual"),
        _gap("ASR gap", "asr_gap"),
        _gap("ACC gap", "acc_gap"),
        _gap("RA gap", "recovery_gap"),
        *(
            Shown(f"ASR, {attack}", f"{attack}_asr", below=(("cured {}", f"{attack}_cured"),))
            for attack in CORE_ATTACKS
        ),
        Shown("Control", "control_acc_gap", gap="control_acc_gap"),
        COST,
        BLOCKS,
        VERIFIED,
    ),
)
BY_ATTACK = View(
    key="attacks",
    title="Defence by attack",
    file="backdoor_long.csv",
    about="Each defence against each attack. Good is what comes close to the oracle, the model trained without the "
    "poison. A block is cured where ASR is at most 5 points above the oracle's, and ACC and RA at most 5 below. An "
    "attack that fails its gate counts for no defence.",
    name="defense",
    kind="defenses",
    group=("setting", "power", "attack"),
    heading=("attack", "dataset", "architecture", "recipe", "augmentation", "pool", "power"),
    details=(("attack's preset {}", "attack_preset"), ("{}", "goal"), ("gate: {}", "gate"), *IDENTITY),
    target="the oracle",
    references=(
        ("Clean model", "clean"),
        ("Backdoored, before", "backdoored"),
        ("Oracle, the target", "oracle"),
    ),
    filters=(*SETTING, RECIPE, Filter("Attack", ("attack",)), *DEFENDER, STANDING),
    shown=(
        RANK,
        Shown("Defence", "defense"),
        _to_oracle("ACC", "acc"),
        _to_oracle("ASR", "asr"),
        _to_oracle("RA", "recovery"),
        Shown("Cured", "cured"),
        Shown("DER", "der"),
        COST,
        BLOCKS,
        VERIFIED,
    ),
)
VIEWS = (UNLEARNING, AUDITS, OVERVIEW, BY_ATTACK)
