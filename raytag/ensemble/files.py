"""What an ensemble search leaves behind: files in the run store."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raytag import __version__
from raytag.ensemble.assess.assessment import Assessment, Scored
from raytag.ensemble.assess.bootstrap import Interval
from raytag.ensemble.assess.verdict import verdict
from raytag.ensemble.choose.choices import Choices, names_of
from raytag.ensemble.choose.left_out import NOT_COVERED, epoch_optimism, frequency, frequency_by_name
from raytag.ensemble.choose.ways import WAYS
from raytag.ensemble.pipeline import Ensemble
from raytag.ensemble.predictions.oof import OofMatrix
from raytag.ensemble.stackers.case import HISTORY_COLUMNS
from raytag.ensemble.stackers.second_level import SecondLevel
from raytag.errors import DamagedError
from raytag.metrics import chance_lwlrap, tied_pairs
from raytag.store.files import Storage
from raytag.store.fold import FoldStore
from raytag.store.predictions import predictions_frame
from raytag.store.run import REPORT, RunStore

OOF = "oof.parquet"
FLATTERED = " But --faithful was asked for: these scores flatter."


def submission_frame(
    store: RunStore, oof: OofMatrix, test: NDArray[np.float64] | None
) -> tuple[pd.DataFrame, list[str]] | None:
    """Test predictions in the sample submission's rows and columns, and the clips that had to be filled in.

    A clip of the sample submission that the run could not use has no prediction; its row is the mean over the
    other test clips, which claims nothing but how common the classes are.

    Returns
    -------
    (frame, filled) or None
        None when there are no test predictions.
    """
    if test is None:
        return None
    wanted = store.run["submission"] if store.run["submission"] is not None else list(oof.test_fnames)
    row = {fname: i for i, fname in enumerate(oof.test_fnames)}
    filled = [fname for fname in wanted if fname not in row]
    values = np.array([test[row[f]] if f in row else test.mean(axis=0) for f in wanted])
    return predictions_frame(wanted, values, oof.classes), filled


def subsets_frame(oof: OofMatrix, choices: Choices) -> pd.DataFrame:
    """The best subsets: score, size, members (experiment ids), and the score on each fold."""
    scorer = choices.scorer
    frame = pd.DataFrame(
        {
            "score": [scorer.lwlrap(f.sums) for f in choices.board],
            "size": [len(f.members) for f in choices.board],
            "members": [[oof.experiments[m] for m in f.members] for f in choices.board],
        }
    )
    for k in range(len(scorer.labels)):
        frame[f"fold_{k}"] = [scorer.lwlrap(f.sums, [k]) for f in choices.board]
    return frame


def sizes_frame(oof: OofMatrix, choices: Choices) -> pd.DataFrame:
    """The best subset of each size: in-sample and nested score, whether the search was exact, members."""
    scorer, rows = choices.scorer, []
    for size, best in sorted(choices.on_all.by_size.items()):
        outer = {left_out[0]: choices.without[left_out].by_size[size] for left_out in choices.outer}
        sums = [outer[k].sums[k] if k in outer else 0 for k in range(len(scorer.labels))]
        rows.append(
            {
                "size": size,
                "in_sample": scorer.lwlrap(best.sums),
                "nested": scorer.lwlrap(sums) if outer else math.nan,
                "exact": size in choices.exact_sizes,
                "members": " ".join(oof.experiments[m] for m in best.members),
            }
        )
    return pd.DataFrame(rows)


def stackers_frame(second: SecondLevel) -> pd.DataFrame:
    """Every stacker that reads the final members: settings, epochs, inner lwlrap, by fold left out."""
    frames = []
    for fold in range(second.n_folds):
        frame = pd.DataFrame(second.cases[second.final_members, (fold,)].history, columns=list(HISTORY_COLUMNS))
        frame.insert(0, "fold", fold)
        frame["kept"] = frame["name"].isin([t.name for t in second.all_final(fold)])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def member_epoch_optimism(oof: OofMatrix, member: int, labels: Sequence[int]) -> float | None:
    """`epoch_optimism` of an experiment from its curves; 0 where it kept its last epoch, None for other models."""
    origin = oof.origin[member] if oof.origin else None
    if origin is None:
        return None
    store, experiment = origin
    fields = store.storage.read_json(f"experiments/{experiment}/experiment.json")  # of runs of before too
    if fields["training"]["keep_epoch"] != "best":
        return 0.0
    return epoch_optimism([store.fold(experiment, k).curve() for k in range(store.n_folds)], labels)


def build_report(
    oof: OofMatrix,
    ensemble: Ensemble,
    search: Mapping[str, Any],
    filled: Sequence[str],
    seconds: float,
) -> dict[str, Any]:
    """The content of ``ensemble.json``; NaN, which JSON does not know, is null."""
    choices, assessment, second = ensemble.choices, ensemble.assessment, ensemble.second
    names, final = oof.experiments, assessment.final
    by_member = {names[m]: member_epoch_optimism(oof, m, choices.scorer.labels) for m in ensemble.weights}
    known = [value for value in by_member.values() if value is not None]
    scorer = choices.scorer
    single = names[choices.on_all.ways["single"].members[0]]
    workers = [*choices.workers, *(second.workers if second else [])]
    return _plain(
        {
            "raytag": __version__,
            "search": dict(search),
            "verdict": verdict(assessment, single) + (FLATTERED if second and second.faithful else ""),
            "way": final.way,
            "members": {names[m]: weight for m, weight in ensemble.weights.items()},
            "stackers": _kept_stackers(ensemble),
            **_scores(final),
            "decided_without_fold": {str(k): way for k, way in assessment.decided.items()},
            "to_single": _interval(assessment.to_single),
            "to_single_own": _interval(assessment.to_own),
            "runner_up": assessment.runner_up,
            "to_runner_up": _interval(assessment.to_runner_up),
            "interval_by": ["fold", "group" if assessment.grouped else "clip"],
            "chance": chance_lwlrap(oof.targets),
            "tied_pairs": tied_pairs(oof.targets, ensemble.oof),
            "ways": {way: _way(way, scored, choices, names, second) for way, scored in assessment.ways.items()},
            "subset_search": {
                "exact_sizes": choices.exact_sizes,
                "other_sizes": choices.other_sizes,
                "n_subsets": choices.n_subsets,
                "bound": choices.bound,
                "seconds": round(choices.seconds, 3),
                "predicted_seconds": round(choices.predicted_seconds, 3),
            },
            "stacking_seconds": round(second.seconds, 3) if second else None,
            "epoch_optimism": {"mean": float(np.mean(known)) if known else None, "members": by_member},
            "experiments": {e: scorer.lwlrap(scorer.sums([m])) for m, e in enumerate(names)},
            "n_clips": len(oof.fnames),
            "n_labels": scorer.labels,
            "test_clips_without_prediction": list(filled),
            "notes": list(oof.notes),
            "not_covered": not_covered(assessment, second),
            "seconds": round(seconds, 3),
            "workers": [asdict(w) for w in workers],
            "n_worker_processes": len({(w.host, w.pid) for w in workers}),
        }
    )


def not_covered(assessment: Assessment, second: SecondLevel | None) -> list[str]:
    """What the nested score does not see."""
    found = [NOT_COVERED]
    if second is not None and second.faithful:
        found.append(
            "--faithful: the networks of a fold were stopped and chosen on this very fold, as argus-freesound's; "
            "so scores of the ways with MLP stackers, nested ones too, are not honest: they flatter"
        )
    if second is not None:
        found.append(
            "stackers of a fold read out-of-fold predictions of the other folds, which come from first-level "
            "models that trained on this fold"
        )
    if not assessment.repeated:
        found.append(
            "which way of choosing is kept was decided by the nested scores themselves: with fewer than three "
            "folds that choice cannot be repeated inside"
        )
    found.append(
        "out-of-fold predictions come from one model a clip, test predictions average the models of all folds: "
        "what a blend adds to that average may be less"
    )
    found.append(
        f"intervals are about other folds and other {'groups' if assessment.grouped else 'clips'}, not about other "
        "seeds or other pools"
        + ("" if assessment.grouped else "; without groups, folds alone are independent samples of new sources")
    )
    return found


def _kept_stackers(ensemble: Ensemble) -> dict[str, list[str]]:
    """Names of the stackers in the final ensemble, by fold."""
    way, second = ensemble.assessment.final.way, ensemble.second
    family = WAYS[way].stackers
    if second is None or not family:
        return {}
    return {str(k): [t.name for t in second.final(k, family)] for k in range(second.n_folds)}


def _way(
    way: str, scored: Scored, choices: Choices, names: Sequence[str], second: SecondLevel | None
) -> dict[str, Any]:
    entry: dict[str, Any] = {"title": WAYS[way].title, **_scores(scored)}
    if second and second.faithful and WAYS[way].stackers == "mlp":
        entry |= {"title": f"{WAYS[way].title} (nested score not honest)", "leaky": True}
    if not WAYS[way].stackers:
        chosen = [choices.without[left_out].ways[way] for left_out in choices.outer]
        entry["members"] = names_of(choices.on_all.ways[way], names)
        entry["member_frequency"] = frequency_by_name(frequency(chosen), names) if chosen else {}
        entry["chosen_without_fold"] = [names_of(found, names) for found in chosen]
    return entry


def _scores(scored: Scored) -> dict[str, Any]:
    return {
        "in_sample": scored.in_sample,
        "nested": scored.nested,
        "optimism": scored.optimism,
        "nested_interval": [scored.interval.low, scored.interval.high],
    }


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval.as_dict()


def _plain(value: Any) -> Any:
    """JSON values: NaN and infinity, which JSON does not know, become null."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def write(
    storage: Storage,
    oof: OofMatrix,
    ensemble: Ensemble,
    report: Mapping[str, Any],
    submission: pd.DataFrame | None,
    figure: bytes | None,
) -> None:
    """Write the files of an ensemble, ``ensemble.json`` last; what a killed search left there goes."""
    for name in ("sizes.png", "submission.csv", "stackers.csv"):
        storage.delete(name)
    storage.delete_folder("stackers")
    files = {
        "subsets.parquet": storage.write_parquet("subsets.parquet", subsets_frame(oof, ensemble.choices)),
        "sizes.csv": storage.write_csv("sizes.csv", sizes_frame(oof, ensemble.choices)),
        OOF: storage.write_parquet(OOF, predictions_frame(oof.fnames, ensemble.oof, oof.classes)),
    }
    if figure is not None:
        files["sizes.png"] = storage.write("sizes.png", figure)
    if submission is not None:
        files["submission.csv"] = storage.write_csv("submission.csv", submission)
    if ensemble.second is not None:
        files["stackers.csv"] = storage.write_csv("stackers.csv", stackers_frame(ensemble.second))
        write_stackers(storage.sub("stackers"), oof, ensemble.second)
    storage.write_json(REPORT, {**report, "files": files})


def read_report(storage: Storage, read: Collection[str] | None = None) -> dict[str, Any]:
    """The content of ``ensemble.json``, once the files beside it are found to hold what was written.

    Parameters
    ----------
    storage : Storage
        Of the ensemble.
    read : collection of str, optional
        The files that matter; by default all.

    Raises
    ------
    DamagedError
        It, or one of them, does not, or is gone.
    """
    report: dict[str, Any] = storage.read_json(REPORT)
    for name, kept in report.get("files", {}).items():
        if read is None or name in read:
            try:
                storage.read(name, kept)
            except FileNotFoundError:
                raise DamagedError(f"{storage.where(name)} is gone") from None
    return report


def write_stackers(storage: Storage, oof: OofMatrix, second: SecondLevel) -> None:
    """Store second-level models like first-level ones: ``NAME/fold_K/`` with weights, predictions and result."""
    for fold in range(second.n_folds):
        rows = np.flatnonzero(oof.fold == fold)
        for stacker in second.all_final(fold):
            test = None if stacker.test is None else predictions_frame(oof.test_fnames, stacker.test, oof.classes)
            assert stacker.weights is not None
            FoldStore(storage.sub(f"{stacker.name}/fold_{fold}")).finish(
                weights=stacker.weights,
                oof=predictions_frame([oof.fnames[i] for i in rows], stacker.oof, oof.classes),
                test=test,
                curve=None,
                result={
                    "family": stacker.family,
                    "config": asdict(stacker.config),
                    "members": [oof.experiments[m] for m in second.final_members],
                    "fold": fold,
                    "inner_lwlrap": stacker.inner_lwlrap,
                    "epochs": stacker.epochs,
                },
            )
