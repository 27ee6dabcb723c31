"""One defence against one attack: the smallest unit of the backdoor leaderboards, PROTOCOL's `cell`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmark.leaderboard.blocks import Blocks, key_of
from benchmark.leaderboard.cells import short_name
from benchmark.store.records import Record
from metrics.trigger import MOST_CLEAN_LABEL

CORE_ATTACKS = ("badnets", "blended")
"""The attacks over which defences are ranked, in their published form and newest version; laid down beforehand, so that
no rank depends on what else somebody ran. All others are shown beside them."""
CONTROL = "clean"
"""Name of the attack that does nothing."""

Failures = Mapping[int, str]
"""Block -> why the attack failed its gate there."""


@dataclass(frozen=True, eq=False)
class Duel(Blocks):
    """The records of one defence against one attack in one setting, one record a block."""

    label: str
    """The attack's short name, one for each variant of it."""
    failures: Failures
    """Where the attack failed, whatever defence it was found with: then the duel counts for none (PROTOCOL 7.2)."""
    superseded: bool
    """Whether a newer version of the attack was run in the same setting."""
    attacker: Mapping[str, Any]
    """What the runner says of the attack, in whatever run; empty where every one broke before it could."""

    @property
    def attack(self) -> dict[str, Any]:
        """The attack's name, version, preset and hyper-parameters."""
        return dict(self.spec["attack"])

    @cached_property
    def setting(self) -> dict[str, Any]:
        """What the runner says of attack and defender in this duel; empty where every block broke before it could."""
        return next((dict(record["setting"]) for record in self.records if "setting" in record), {})

    @property
    def goal(self) -> str:
        """What the attacker wants; `none` in the control."""
        return str(self.attacker.get("goal", "none" if self.attack["name"] == CONTROL else "all-to-one"))

    @property
    def failed(self) -> bool:
        """Whether the attack failed."""
        return bool(self.failures)

    @property
    def averaged(self) -> list[Record]:
        """The records that a mean may be taken over; none under an attack that failed."""
        return [] if self.failed else super().averaged

    @property
    def complete(self) -> bool:
        """Whether no block broke, or none could count anyway."""
        return self.failed or set(self.statuses) == {"ok"}

    @property
    def apart(self) -> str | None:
        """Why the attack is in no mean and in no count: the user's own, outdated, or `apart`.

        That is: of another preset than the published one, all-to-all, or with too much poison.
        """
        if self.attack["preset"] == "custom":
            return "custom"
        if self.superseded:
            return "superseded"
        ratio = self.attack["hyperparameters"].get("ratio", 0)
        too_much = self.attacker.get("victims") == "target" and ratio > MOST_CLEAN_LABEL
        odd = self.attack["preset"] != "published" or too_much or self.goal == "all-to-all"
        return "apart" if odd else None

    @property
    def counts(self) -> bool:
        """Whether the attack is counted."""
        return self.goal != "none" and self.apart is None

    @property
    def core(self) -> bool:
        """Whether the attack is one of those that rank."""
        return self.counts and self.attack["name"] in CORE_ATTACKS

    @property
    def cured_blocks(self) -> int:
        """Number of blocks in which the model was cured; none under an attack that failed."""
        return 0 if self.failed else sum(record["metrics"].get("cured") == 1.0 for record in self.scored)

    @property
    def cured(self) -> bool:
        """Whether every block was."""
        return bool(self.averaged) and self.cured_blocks == len(self.averaged)

    def references(self, name: str) -> list[dict[str, Any]]:
        """Scores of the clean, backdoored or oracle models, of every block that came so far."""
        return [record["references"][name] for record in self.records if name in record.get("references", {})]

    @property
    def outcome(self) -> str | None:
        """In how many blocks the model was cured, or why nobody can say; None in the control."""
        if self.goal == "none":
            return None
        if self.failed:
            return "attack failed"
        return f"{self.cured_blocks} of {len(self.scored)}" if self.complete else "incomplete"


def duels_of(records: Iterable[Record]) -> list[Duel]:
    """Records of the backdoor track -> duels, in a stable order; different versions never share one."""
    groups = defaultdict(list)
    for record in records:
        if record["spec"]["track"] == "backdoor":
            groups[key_of(record, without=("block",))].append(record)
    failures = _failures([record for group in groups.values() for record in group])
    labels = _labels(group[0]["spec"]["attack"] for group in groups.values())
    newest = newest_versions((_variant(group[0]), group[0]["spec"]["attack"]) for group in groups.values())
    attackers = {_maker(group[0]): r["setting"] for group in groups.values() for r in group if "setting" in r}
    return [
        Duel(
            group,
            labels[_identity(group[0]["spec"]["attack"])],
            failures[_gate(group)],
            version_of(group[0]["spec"]["attack"]) < newest[_variant(group[0])],
            attackers.get(_maker(group[0]), {}),
        )
        for _, group in sorted(groups.items())
    ]


def _failures(records: list[Record]) -> dict[str, dict[int, str]]:
    """Where which attack failed: its gate, or, for all of its gates, already in making its model."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for record in records:
        if not record.get("gate", {"passed": True})["passed"]:
            gates = [_gate([record])] if "setting" in record else [_gate([record], static) for static in (True, False)]
            for gate in gates:
                found[gate][record["spec"]["block"]] = record["gate"]["reason"]
    return found


def _gate(records: list[Record], static: bool | None = None) -> str:
    """What shares a gate: the attack's models of a setting.

    Under an attack that controls training, defences that train have a static set, and a gate, of their own (7.5).
    """
    if static is None:
        settings = [record["setting"] for record in records if "setting" in record]
        static = any(s["controls_training"] and s["power"] == "in-training" for s in settings)
    return f"{static} {key_of(records[0], without=('method', 'pool', 'block'))}"


def newest_versions(found: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, int]:
    """Newest version of each of some names, from pieces that go by these names."""
    newest: dict[str, int] = {}
    for name, piece in found:
        newest[name] = max(version_of(piece), newest.get(name, 0))
    return newest


def _variant(record: Record) -> str:
    attack = record["spec"]["attack"]
    return f"{attack['name']}/{attack['preset']} {key_of(record, without=('method', 'attack', 'block'))}"


def _maker(record: Record) -> tuple[str, str]:
    """The attack without its hyper-parameters: what its goal and its victims follow from."""
    return record["spec"]["attack"]["name"], str(record["spec"]["attack"]["version"])


def version_of(piece: Mapping[str, Any]) -> int:
    """The version's number; a plugin's has the hash of its source behind it, which has no order."""
    number = str(piece["version"]).partition("+")[0]
    return int(number) if number.isdigit() else 0


def _identity(attack: dict[str, Any]) -> str:
    return repr(sorted(attack.items(), key=lambda item: item[0]))


def _labels(attacks: Iterable[dict[str, Any]]) -> dict[str, str]:
    """A short name for every variant of an attack, the same in all settings: its name alone for the usual one."""
    known = {_identity(attack): attack for attack in attacks}
    latest: dict[str, tuple[int, str]] = {}
    for attack in known.values():
        version = (version_of(attack), str(attack["version"]))
        latest[attack["name"]] = max(version, latest.get(attack["name"], version))
    labels = {}
    for identity, attack in known.items():
        preset = "" if attack["preset"] == "published" else f"-{attack['preset']}"
        own = f"-{short_name(repr(sorted(attack['hyperparameters'].items())))[:4]}" if preset == "-custom" else ""
        old = "" if str(attack["version"]) == latest[attack["name"]][1] else f"-v{attack['version']}"
        labels[identity] = f"{attack['name']}{preset}{own}{old}"
    return labels
