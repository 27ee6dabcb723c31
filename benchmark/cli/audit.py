"""`medsafe audit`: what an unlearning run left of the images that it forgot."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.app import OWN, Results, Text, app, option, path_option, progress, say, set_threads
from benchmark.errors import MedsafeError


@app.command()
def audit(
    run_id: Annotated[str, typer.Argument(help="Id of a run with --shadows: the last part of its record's file name.")],
    output: Annotated[Path | None, path_option("Folder to write into; by default audits/RUN in --results.")] = None,
    dataset: Annotated[Text, option("The .npz file of data without a name.")] = None,
    data_root: Annotated[Path | None, path_option("Folder with MedMNIST's files; else they are downloaded.")] = None,
    results: Results = OWN,
) -> None:
    """Write how exposed each image was before and after unlearning: a report with pictures, and a CSV."""
    from benchmark.audits.report import write_report
    from benchmark.data.datasets import load_dataset
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.records import RecordStore

    records = RecordStore(results)
    record = records.find(run_id)
    data = load_dataset(dataset or record["spec"]["data"]["name"], data_root)
    folder = output or results / "audits" / record["id"]
    for path in write_report(record, records, data, ArtifactStore(default_cache()), folder):
        say(f"wrote {path}")


@app.command("u-lira")
def u_lira(
    output: Annotated[Path | None, path_option("The CSV to write; by default audits/u_lira.csv in --results.")] = None,
    results: Results = OWN,
) -> None:
    """Judge methods by U-LiRA from their audit runs on parts (suites/u-lira.toml), and write a CSV."""
    from benchmark.audits.ulira import u_lira_table
    from benchmark.leaderboard.spreadsheet import csv_of
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.files import write_atomically
    from benchmark.store.records import RecordStore

    table = u_lira_table(RecordStore(results), ArtifactStore(default_cache()))
    if not len(table):
        raise MedsafeError(f"'{results}' has no audit runs on parts: `medsafe sweep suites/u-lira.toml` makes them")
    path = output or results / "audits" / "u_lira.csv"
    write_atomically(path, csv_of(table))
    for row in table.to_dict("records"):
        found = f"AUC {row['auc']:.3f} over {row['targets']} targets" if row["auc"] == row["auc"] else row["unresolved"]
        say(f"{row['method']} ({row['preset']}): {found}")
    say(f"wrote {path}")


@app.command()
def klom(
    output: Annotated[Path | None, path_option("The CSV to write; by default audits/klom.csv in --results.")] = None,
    results: Results = OWN,
) -> None:
    """Compare unlearned with retrained models by KLoM and epsilon, from runs on fixed:SHARE (suites/klom.toml)."""
    from benchmark.audits.klom import klom_table
    from benchmark.leaderboard.spreadsheet import csv_of
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.files import write_atomically
    from benchmark.store.records import RecordStore

    table = klom_table(RecordStore(results), ArtifactStore(default_cache()))
    if not len(table):
        raise MedsafeError(
            f"'{results}' has no runs on a fixed forget set: `medsafe sweep suites/klom.toml` makes them"
        )
    path = output or results / "audits" / "klom.csv"
    write_atomically(path, csv_of(table))
    for row in table.to_dict("records"):
        say(f"{row['method']} ({row['preset']}), {row['part']}: {_distance(row)}")
    say(f"wrote {path}")


@app.command()
def variance(
    method: Annotated[str, option("Unlearning method.")],
    preset: Annotated[str, option("Named set of hyper-parameters of the method.")] = "published",
    dataset: Annotated[Text, option("bloodmini, a MedMNIST name, or the path of an .npz file.")] = None,
    data_root: Annotated[Path | None, path_option("Folder with MedMNIST's files; else they are downloaded.")] = None,
    arch: Annotated[Text, option("cnn-small, resnet18-quarter, resnet18 or timm:<name>.")] = None,
    recipe: Annotated[Text, option("cpu, medmnist or salun, and +none, +standard or +trivialaugment.")] = None,
    scenario: Annotated[Text, option("random:0.1, random-iid:0.1 or part:0/10.")] = None,
    forget_sets: Annotated[int, option("Forget sets.")] = 5,
    originals: Annotated[int, option("Originals for each forget set.")] = 4,
    seeds: Annotated[int, option("Seeds of the method for each Original.")] = 3,
    profile: Annotated[str, option("quick (two CPU cores) or full (a GPU): the defaults of the rest.")] = "quick",
    device: Annotated[str, option("auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, option("CPU threads; results are bitwise equal at one number only.")] = None,
    output: Annotated[Path | None, path_option("The CSV; by default audits/variance_METHOD.csv in --results.")] = None,
    results: Results = OWN,
) -> None:
    """Measure how much of each score's variance comes from the forget set, the Original and the method's seed."""
    from benchmark.audits.variance import LEVELS, Design, variance_table
    from benchmark.leaderboard.spreadsheet import csv_of
    from benchmark.plan import Request
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.files import write_atomically

    set_threads(threads)
    design = Design(forget_sets, originals, seeds)
    request = Request(method, profile, dataset, data_root, arch, recipe, scenario, preset=preset, device=device)
    table = variance_table(request, design, ArtifactStore(default_cache()), progress)
    path = output or results / "audits" / f"variance_{method}.csv"
    write_atomically(path, csv_of(table))
    for row in table[table["mean"].notna()].to_dict("records"):
        shares = ", ".join(f"{level.replace('_', ' ')} {row[f'{level}_share']:.0%}" for level in LEVELS)
        say(f"{row['metric']}: {row['mean']:.4f} +- {row['standard_error']:.4f}; of the variance: {shares}")
    say(f"wrote {path}")


def _distance(row: dict[Any, Any]) -> str:
    """For people: the distance with its null, in the form that needs most models of those that there are."""
    for form, title in (("klom", "KLoM"), ("gaussian_klom", "Gaussian KLoM")):
        if row[form] == row[form]:
            found = f"{title} {row[form]:.3f}, null {row[f'{form}_null']:.3f}, over {row['models']} models"
            bound, most = row["eps_lower_bound"], row["eps_resolution"]
            return found + (f"; epsilon at least {bound:.3f} of {most:.3f}" if bound == bound else "")
    return str(row["unresolved"])
