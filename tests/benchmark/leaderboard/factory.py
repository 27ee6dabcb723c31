"""Records as `medsafe run` writes them, with scores from a seeded generator: what a leaderboard is made of."""

import copy
import hashlib
import json

import numpy as np

from metrics import audit, nearness, relearn, representation

DECLARED = {
    "ua": "UA", "ra": "RA", "ta": "TA", "ta_deduplicated": "TA (deduplicated)",
    "ta_forgotten_class": "TA (forgotten class)", "macro_auc": "Macro AUC", "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity by class", "mia_svc": "MIA-SVC", "mia_svc_non_members": "MIA-SVC (non-members)",
    "mia_svc_excess": "MIA-SVC excess", "mia_svc_training_accuracy": "MIA-SVC training accuracy",
    "mia_svc_original": "MIA-SVC (SalUn's form)", "mia_loss_auc": "MIA-loss AUC",
    "mia_loss_tpr_10": "MIA-loss TPR at 10% FPR", "mia_loss_tpr_1": "MIA-loss TPR at 1% FPR",
    "mia_loss_tpr_over_10": "MIA-loss over at 10% FPR", "mia_loss_tpr_over_1": "MIA-loss over at 1% FPR",
} | {name: info.title for name, info in nearness.METRICS.items()}  # fmt: skip
UNRESOLVED = {
    "mia_loss_tpr_1": "24 members, 24 non-members; 1.00% FPR needs 1 and 1000",
    "mia_loss_tpr_over_1": "24 members, 24 non-members; 1.00% FPR needs 1 and 1000",
    "ta_forgotten_class": "no class is forgotten in this scenario",
}


def make_record(method="finetune", block=0, *, status="ok", reason=None, retrains=2, error=0.0, **changes):
    """One record; `error` is added to every score of the method. `changes` name parts of the spec with `__`, such as
    `data__name="other"`, or parts of the record, such as `notes=["a note"]`.
    """
    spec = {
        "track": "unlearning",
        "data": {
            "name": "bloodmini", "sha256": "a" * 64, "split_seed": 0, "non_member_share": 0.1, "groups_sha256": None,
            "allowed_augmentations": ["crop"],
        },
        "architecture": "cnn-small",
        "recipe": {
            "name": "cpu", "optimizer": "sgd", "lr": 0.1, "epochs": 30, "batch_size": 64, "schedule": "onecycle",
            "milestones": [], "momentum": 0.9, "weight_decay": 5e-4, "augmentation": "none", "precision": "fp32",
        },
        "scenario": "random:0.1",
        "method": {
            "kind": "unlearning", "name": method, "version": "1", "preset": "published",
            "hyperparameters": {"lr": 0.01},
        },
        "block": block,
        "retrains": retrains,
        "original_sha256": None,
        "protocol_version": 1,
        "training_version": 1,
    }  # fmt: skip
    record = {
        "schema": 1,
        "spec": spec,
        "status": status,
        "reason": reason,
        "declarations": {
            name: {
                "title": title, "direction": "retrain", "range": [0, 1], "version": 1, "unit": "fraction",
                "target": None,
            }
            for name, title in DECLARED.items()
        },
        "classes": ["basophil", "platelet"],
        "notes": [],
        "environment": {
            "medsafe": "0.1.0", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6",
            "scikit-learn": "1.9.1", "system": "Linux x86_64", "cpu": "AVX512", "device": "cpu", "threads": 1,
        },
        "seconds": {
            "training": 5.0, "method": 2.0, "prediction": 0.5, "metrics": 0.25, "waiting": 0.0, "suite": 0.25,
            "total": 8.0,
        },
        "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    if status == "ok":
        record |= {
            "cost": {
                "flops": 1e9, "seconds": 2.0, "flops_share": 0.25, "original": {"flops": 4e9, "seconds": 8.0},
                "retrain_seconds": 7.0,
            },
            "sizes": {"forget": 24, "retain": 216, "non_members": 24, "test": 80, "test_deduplicated": 80,
                      "test_forgotten_class": 0},
            "artifacts": {"model": "m" * 64, "original": "o" * 64, "untrained": "u" * 64}
            | {f"retrain {k}": "r" * 64 for k in range(retrains)},
            "metrics": scores(f"{method}/{block}", error),
            "unresolved": dict(UNRESOLVED),
            "references": {
                "original": scores(f"the original/{block}"),
                "retrain": [scores(f"a retrain/{block}/{k}") for k in range(retrains)],
            },
            "curves": {
                "roc": {
                    "fpr": [0.5, 1.0], "model": [0.6, 1.0], "original": [0.7, 1.0], "retrain": [[0.5, 1.0]] * retrains,
                },
            },
        }  # fmt: skip
    for path, value in changes.items():
        *folders, name = path.split("__")
        part = record if folders == [] and name in record else spec
        for folder in folders:
            part = part[folder]
        part[name] = copy.deepcopy(value)
    record["id"] = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    return record


def make_row(method="finetune", blocks=10, **changes):
    """The records of one row, block after block."""
    return [make_record(method, block, **changes) for block in range(blocks)]


def scores(seed, error=0.0):
    """Scores of one model: the same seed, the same scores."""
    rng = np.random.default_rng(list(seed.encode()))
    values = {name: float(np.clip(rng.normal(0.6 + error, 0.05), 0, 1)) for name in DECLARED}
    return values | dict.fromkeys(UNRESOLVED) | {"sensitivity": [values["sensitivity"], None]}


AUDITED = audit.METRICS | nearness.METRICS | relearn.METRICS | representation.METRICS


def make_audit(method, block=0, values=(0.6, 0.9, (0.5, 0.5)), **changes):
    """An audit's record with these values of all its scores, of the method's model, the Original and each Retrain."""
    own, before, retrains = values
    record = make_record(method, block, retrains=len(retrains), track="audit", shadows=16, **changes)
    record["declarations"] |= {name: dict(record["declarations"]["ua"], title=name) for name in AUDITED}
    references = record["references"]
    record["metrics"] |= dict.fromkeys(AUDITED, own)
    references["original"] |= dict.fromkeys(AUDITED, before)
    for scores, value in zip(references["retrain"], retrains, strict=True):
        scores.update(dict.fromkeys(AUDITED, value))
    return record
