"""What an ensemble search leaves behind: files in the run store, and a table on the screen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from raytag import __version__
from raytag.console import say
from raytag.ensemble.nested import NOT_COVERED, Nested, epoch_optimism, frequency_by_name
from raytag.ensemble.oof import OofMatrix
from raytag.ensemble.pipeline import Blend, StackerResult, SubsetResult
from raytag.metrics import lwlrap, tied_pairs
from raytag.storage import Storage
from raytag.store import RunStore

REPORT = "ensemble.json"  # written last: an ensemble is there exactly when this is


def predictions_frame(fnames: Sequence[str], values: NDArray[np.floating], classes: Sequence[str]) -> pd.DataFrame:
    """Column fname, then one float32 column a class."""
    frame = pd.DataFrame(values.astype(np.float32), columns=list(classes))
    frame.insert(0, "fname", list(fnames))
    return frame


def submission_frame(store: RunStore, oof: OofMatrix, blend: Blend) -> tuple[pd.DataFrame, list[str]] | None:
    """Test predictions in the sample submission's rows and columns, and the clips that had to be filled in.

    A clip of the sample submission that the run could not use has no prediction; its row is the mean over the
    other test clips, which claims nothing but how common the classes are.

    Returns
    -------
    (frame, filled) or None
        None when the dataset has no test clips.
    """
    if blend.test is None:
        return None
    wanted = store.run["submission"] if store.run["submission"] is not None else list(oof.test_fnames)
    row = {fname: i for i, fname in enumerate(oof.test_fnames)}
    filled = [fname for fname in wanted if fname not in row]
    values = np.array([blend.test[row[f]] if f in row else blend.test.mean(axis=0) for f in wanted])
    return predictions_frame(wanted, values, oof.classes), filled


def subsets_frame(oof: OofMatrix, result: SubsetResult) -> pd.DataFrame:
    """The best subsets: score, size, members (experiment ids), and the score on each fold."""
    scorer = result.scorer
    frame = pd.DataFrame(
        {
            "score": [scorer.lwlrap(f.sums) for f in result.board],
            "size": [len(f.members) for f in result.board],
            "members": [[oof.experiments[m] for m in f.members] for f in result.board],
        }
    )
    for k in range(len(scorer.labels)):
        frame[f"fold_{k}"] = [scorer.lwlrap(f.sums, [k]) for f in result.board]
    return frame


def stackers_frame(oof: OofMatrix, result: StackerResult) -> pd.DataFrame:
    """The grid: settings, inner lwlrap of each fold's network, and what was selected."""
    frame = pd.DataFrame([asdict(config) for config in result.configs])
    for k in range(result.inner.shape[1]):
        frame[f"inner_lwlrap_{k}"] = result.inner[:, k]
    frame["oof_lwlrap"] = [lwlrap(oof.targets, values) for values in result.oof]
    frame["selected"] = [i in result.selected for i in range(len(frame))]
    frame["selected_without"] = [
        " ".join(str(k) for k, chosen in enumerate(result.selected_without) if i in chosen)
        for i in range(len(frame))
    ]
    return frame


def member_epoch_optimism(store: RunStore, experiment: str, labels: Sequence[int]) -> float:
    """`epoch_optimism` of an experiment from its curves; 0 where it kept its last epoch."""
    if store.experiment(experiment).training.keep_epoch != "best":
        return 0.0
    return epoch_optimism([store.fold(experiment, k).curve() for k in range(store.n_folds)], labels)


def build_report(
    store: RunStore,
    search: Mapping[str, Any],
    n_subsets: int,
    oof: OofMatrix,
    subset: SubsetResult,
    stackers: StackerResult | None,
    blend: Blend,
    filled: Sequence[str],
    seconds: float,
) -> dict[str, Any]:
    """The content of ``ensemble.json``."""
    names = oof.experiments
    members = [names[m] for m in subset.final.members]
    by_member = {e: member_epoch_optimism(store, e, subset.scorer.labels) for e in members}
    singles = {e: subset.scorer.lwlrap(subset.scorer.sums([m])) for m, e in enumerate(names)}
    workers = [*subset.workers, *(stackers.workers if stackers else [])]
    return _plain(
        {
            "run": store.name,
            "raytag": __version__,
            "search": dict(search),
            "members": members,
            "stackers": [f"stacker-{i:03d}" for i in blend.stackers],
            "in_sample": blend.in_sample,
            "nested": blend.nested,
            "optimism": blend.in_sample - blend.nested,
            "tied_pairs": tied_pairs(oof.targets, blend.oof),
            "subset": _scores(subset.subset)
            | {
                "members": members,
                "n_subsets": n_subsets,
                "member_frequency": frequency_by_name(subset.subset.frequency, names),
                "chosen_without_fold": [[names[m] for m in chosen] for chosen in subset.subset.chosen],
                "seconds": round(subset.seconds, 3),
            },
            "subset_and_stackers": None if stackers is None else _stacking(stackers, subset.subset),
            "baselines": {
                "best_single": _scores(subset.single) | {"experiment": names[subset.single_member]},
                "greedy": _scores(subset.greedy) | {"members": [names[m] for m in subset.greedy_members]},
            },
            "epoch_optimism": {"mean": float(np.mean(list(by_member.values()))), "members": by_member},
            "experiments": singles,
            "n_clips": len(oof.fnames),
            "n_labels": subset.scorer.labels,
            "test_clips_without_prediction": list(filled),
            "not_covered": NOT_COVERED,
            "seconds": round(seconds, 3),
            "workers": [asdict(w) for w in subset.workers],
            "stacker_workers": [asdict(w) for w in stackers.workers] if stackers else [],
            "n_worker_processes": len({(w.host, w.pid) for w in workers}),
        }
    )


def _scores(nested: Nested) -> dict[str, Any]:
    return {"in_sample": nested.in_sample, "nested": nested.nested, "optimism": nested.optimism}


def _stacking(stackers: StackerResult, subset: Nested) -> dict[str, Any]:
    used = stackers.blend.nested > subset.nested
    return _scores(stackers.blend) | {
        "stackers": [stackers.configs[i].name for i in stackers.selected],
        "grid": len(stackers.configs),
        "used": used,
        "decision": (
            f"nested {stackers.blend.nested:.5f} with stackers, {subset.nested:.5f} without: "
            + ("the stackers stay" if used else "the subset alone is kept")
        ),
        "seconds": round(stackers.seconds, 3),
    }


def _plain(value: Any) -> Any:
    """JSON values: NaN, which JSON does not know, becomes null."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value


def write(
    storage: Storage,
    report: Mapping[str, Any],
    subsets: pd.DataFrame,
    oof: pd.DataFrame,
    submission: pd.DataFrame | None,
    stackers: pd.DataFrame | None,
) -> None:
    """Write the files of an ensemble, ``ensemble.json`` last."""
    storage.write_parquet("subsets.parquet", subsets)
    storage.write_parquet("oof.parquet", oof)
    if submission is not None:
        storage.write_csv("submission.csv", submission)
    if stackers is not None:
        storage.write_csv("stackers.csv", stackers)
    storage.write_json(REPORT, dict(report))


def show(console: Console, report: Mapping[str, Any], storage: Storage) -> None:
    """Print an ensemble's scores, members and files."""

    baselines, stacking, subset = report["baselines"], report["subset_and_stackers"], report["subset"]
    rows = [
        ("best single model", 1, baselines["best_single"]),
        ("greedy, with replacement", len(set(baselines["greedy"]["members"])), baselines["greedy"]),
        (f"best of {subset['n_subsets']:,} subsets", len(subset["members"]), subset),
    ]
    if stacking is not None:
        n = len(stacking["stackers"])
        rows.append((f"subset + {n} stackers", len(subset["members"]) + n, stacking))
    scores = _table("Scores (lwlrap)", ["", "members", "in-sample", "nested", "optimism"])
    for name, members, entry in rows:
        scores.add_row(name, str(members), *(_score(entry[k]) for k in ("in_sample", "nested", "optimism")))
    console.print(scores)
    frequency, epochs = subset["member_frequency"], report["epoch_optimism"]["members"]
    chosen = _table("Members", ["experiment", "lwlrap", "in outer folds", "epoch optimism", "chosen"])
    for name in [*report["members"], *(e for e in frequency if e not in report["members"])]:
        share = f"{frequency.get(name, 0.0):.0%}" if frequency else "-"
        used = "yes" if name in report["members"] else ""
        chosen.add_row(name, _score(report["experiments"][name]), share, _score(epochs.get(name)), used)
    console.print(chosen)
    say(
        console,
        f"Final: {len(report['members'])} members, {len(report['stackers'])} stackers, nested lwlrap "
        f"{_score(report['nested'])} (in-sample {_score(report['in_sample'])}); "
        f"subset optimism {_score(subset['optimism'])}, epoch optimism "
        f"{_score(report['epoch_optimism']['mean'])} (mean over the members); {report['tied_pairs']} tied pairs",
    )
    if stacking is not None:
        say(console, f"Stackers: {stacking['decision']}")
    if report["nested"] is None:
        say(console, "Nested score: there is only one fold, so nothing could be left out")
    say(console, f"Not covered: {report['not_covered']}")
    missing = report["test_clips_without_prediction"]
    if missing:
        say(
            console,
            f"submission.csv: {len(missing)} clips could not be used and got the mean row, first {missing[0]}",
        )
    say(console, f"{report['seconds']:.1f} s on {report['n_worker_processes']} worker processes")
    for name in storage.files():
        say(console, storage.where(name))


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
