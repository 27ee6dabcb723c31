"""Records of the backdoor track as `medsafe run` writes them, with chosen rates."""

import copy
import hashlib
import json

from metrics.backdoor import METRICS, compare, gate

CLEAN = {"acc": 0.95, "asr": 0.01, "recovery": 0.94}
BACKDOORED = {"acc": 0.94, "asr": 0.99, "recovery": 0.01}
ORACLE = {"acc": 0.94, "asr": 0.02, "recovery": 0.93}
WEAK = {"acc": 0.94, "asr": 0.60, "recovery": 0.30}
CLASSES = ["basophil", "lymphocyte", "platelet"]


def make_run(
    defense="sau", attack="badnets", block=0, *, rates=ORACLE, backdoored=BACKDOORED, goal="all-to-one",
    victims="others", power="post-training", status="ok", reason=None, ratio=0.1,
    controls_training=False, **changes,
):  # fmt: skip
    """One record of a defended model with these `rates`; `changes` name parts of the spec with `__`, or of the record.

    Where `backdoored` does not pass the gate, no defence is run.
    """
    if attack == "clean":
        goal, victims, ratio, backdoored = "none", "others", 0.0, CLEAN
    spec = {
        "track": "backdoor",
        "data": {
            "name": "bloodmini", "sha256": "a" * 64, "split_seed": 0, "non_member_share": 0.1, "groups_sha256": None,
            "allowed_augmentations": [],
        },
        "architecture": "cnn-small",
        "recipe": {"name": "cpu", "epochs": 30, "augmentation": "none", "precision": "fp32"},
        "attack": {
            "kind": "attacks", "name": attack, "version": "1", "preset": "published",
            "hyperparameters": {"ratio": ratio},
        },
        "pool": "reserved",
        "method": {
            "kind": "defenses", "name": defense, "version": "1", "preset": "published", "hyperparameters": {"lr": 0.01},
        },
        "block": block,
        "poisoning_version": 1,
        "protocol_version": 1,
        "training_version": 1,
    }  # fmt: skip
    references = {
        name: scores(one, goal)
        for name, one in (("clean", CLEAN), ("backdoored", backdoored), ("oracle", CLEAN if goal == "none" else ORACLE))
    }
    failure = None if goal == "none" else gate(backdoored["acc"], backdoored["asr"], CLEAN["acc"])
    if failure:
        status, reason = "skipped", f"attack failed: {failure}"
    record = {
        "schema": 1, "spec": spec, "status": status, "reason": reason,
        "declarations": {name: {"title": info.title, "version": info.version} for name, info in METRICS.items()},
        "classes": CLASSES, "notes": [], "environment": {"device": "cpu", "threads": 1},
        "seconds": {
            "training": 5.0, "method": 2.0, "prediction": 0.5, "metrics": 0.25, "waiting": 0.0, "suite": 0.25,
            "total": 8.0,
        },
        "created": "2026-01-01T00:00:00+00:00",
        "setting": {
            "goal": goal, "victims": victims, "controls_training": controls_training, "target": block % 3,
            "power": power, "unchanged": 0,
        },
        "sizes": {"test": 80, "clean_images": 200},
        "gate": {"passed": failure is None, "reason": failure},
        "references": references,
    }  # fmt: skip
    if status == "ok":
        own = scores(rates, goal)
        compared = compare(own, references["backdoored"], references["oracle"])
        record |= {
            "metrics": own | compared.values, "unresolved": dict(compared.unresolved),
            "cost": {"flops": 1e9, "seconds": 2.0, "flops_share": 0.25, "retrain_seconds": 7.0}, "artifacts": {},
        }  # fmt: skip
    for path, value in changes.items():
        *folders, name = path.split("__")
        part = record if not folders and name in record else spec
        for folder in folders:
            part = part[folder]
        part[name] = copy.deepcopy(value)
    record["id"] = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    return record


def make_runs(defense="sau", attack="badnets", blocks=10, **changes):
    """One defence against one attack, block after block."""
    return [make_run(defense, attack, block, **changes) for block in range(blocks)]


def broken(defense="sau", attack="badnets", block=0, **changes):
    """A run that broke before anything was known."""
    record = make_run(defense, attack, block, status="error", reason="raised", **changes)
    return {name: part for name, part in record.items() if name not in ("setting", "sizes", "gate", "references")}


def attackless(defense="sau", attack="badnets", block=0, **changes):
    """A run whose attack came to nothing: it diverged before there was a model to judge."""
    record = broken(defense, attack, block, **changes)
    reason = "weights are not finite"
    return record | {
        "status": "skipped", "reason": f"attack failed: {reason}", "gate": {"passed": False, "reason": reason},
    }  # fmt: skip


def scores(rates, goal="all-to-one"):
    """All raw scores of one model, from three of them."""
    without = goal == "none"
    return {
        "acc": rates["acc"], "balanced_accuracy": rates["acc"] - 0.01, "macro_auc": 0.99,
        "sensitivity": [rates["acc"], rates["acc"], None],
        "asr": None if without else rates["asr"], "asr_correct": None if without else rates["asr"],
        "recovery": None if without else rates["recovery"],
        "asr_by_class": None if without else [rates["asr"], None, rates["asr"]],
    }  # fmt: skip


def shifted(acc=0.0, asr=0.0, recovery=0.0):
    """Rates at a distance from the oracle's."""
    return {"acc": ORACLE["acc"] + acc, "asr": ORACLE["asr"] + asr, "recovery": ORACLE["recovery"] + recovery}
