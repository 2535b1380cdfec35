"""One-line faults that the tests must catch: ``python tests/mutants.py [NAME ...]``.

Each is put into a copy of the tree in a temporary folder, where its tests are run until the first that fails. The
checkout is only read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutant:
    """A fault: ``old``, which ``file`` holds exactly once, becomes ``new``, and one of ``tests`` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "the fold's own clips are trained on",
        "raytag/train/sources.py",
        "train = curated[~np.isin(folds, [fold, *blind]) & (folds >= 0)]",
        "train = curated[folds >= 0]",
        "tests/train/test_fold.py -k sources",
    ),
    Mutant(
        "the samples of a variant are thrown away",
        "raytag/features/sets/variants.py",
        "return np.ascontiguousarray(made, np.float32)",
        "return samples",
        "tests/features/test_variants.py -k sounds",
    ),
    Mutant(
        "a copy of another clip is drawn",
        "raytag/features/bank.py",
        "cells = rows + len(self) * np.arange(self.copies)[:, None]",
        "cells = rows + (len(self) - 1) * np.arange(self.copies)[:, None]",
        "tests/train/test_variants.py",
    ),
    Mutant(
        "a child reads its parent's model of another fold",
        "raytag/train/stages/lineage.py",
        "return model_without(parent, cell.fold, cell.blind)",
        "return model_without(parent, (cell.fold + 1) % 3, cell.blind)",
        "tests/train/stages/test_reading.py -k labels_of_a_fold",
    ),
    Mutant(
        "inner models are trained on the fold that they are blind to",
        "raytag/train/fold.py",
        "self.split: Split = split(table, experiment.sampling, fold, self.cell.blind, experiment.training.seed)",
        "self.split: Split = split(table, experiment.sampling, fold, (), experiment.training.seed)",
        "tests/train/stages/test_reading.py -k labels_of_a_fold",
    ),
    Mutant(
        "noisy clips that are trained on are not recorded",
        "raytag/train/sources.py",
        "[source.rows for source in self.sources if source.prob > 0]",
        "[source.rows for source in self.sources if not source.noisy]",
        "tests/labels/test_raters.py -k refused_by_what_is_recorded",
    ),
    Mutant(
        "a clip is rated by models whose parents were trained on it",
        "raytag/labels/raters.py",
        'clips |= trained_on(store, *source.split("/"))',
        "pass",
        "tests/labels/test_raters.py -k earlier_stage",
    ),
    Mutant(
        "children race against their parents",
        "raytag/search/race/race.py",
        'event.get("stage", FIRST)',
        "FIRST",
        "tests/search/test_stages.py -k race_by_themselves",
    ),
    Mutant(
        "a failed parent stops all folds of its children",
        "raytag/search/race/race.py",
        "(c[0].id, fold) in blocked for fold",
        "False for fold",
        "tests/search/test_stages.py -k fails",
    ),
    Mutant(
        "what is leaky joins the ensemble",
        "raytag/ensemble/predictions/oof.py",
        "    if not leaky:\n",
        "    if leaky:\n",
        "tests/ensemble/predictions/test_oof.py -k leaky",
    ),
    Mutant(
        "short sounds that begin late are lost",
        "raytag/features/waveform.py",
        '(start if short_clip == "sound" else 0)',
        "0",
        "tests/features/test_waveform.py -k window_has",
    ),
    Mutant(
        "only the first clip is learned from where there is no auxiliary classifier",
        "raytag/losses/base.py",
        "heads = (outputs.clip, *outputs.aux)",
        "heads = (outputs.clip if outputs.aux else outputs.clip[:1].expand_as(outputs.clip), *outputs.aux)",
        "tests/models/test_contract.py -k learned_from",
    ),
    Mutant(
        "an interrupt while a recording is read is a fault of the recording",
        "raytag/features/shards.py",
        "    except UnusableClip as error:\n",
        '    except BaseException as fault:\n        error = UnusableClip("unreadable", str(fault))\n',
        "tests/features/test_cache_faults.py -k no_fault",
    ),
    Mutant(
        "a training is scored on corrected labels",
        "raytag/train/fold.py",
        "targets = self.table.targets(self.split.oof)",
        "targets = np.concatenate([self.table.targets(self.split.oof)[:1], self.split.validation_targets])",
        "tests/train/test_fold.py -k corrected_labels_stop",
    ),
    Mutant(
        "gradients of the batches that end an epoch are dropped",
        "raytag/train/fold.py",
        "if place == together - 1:",
        "if place == self.experiment.training.accumulate - 1:",
        "tests/train/test_fold.py -k after_the_tail",
    ),
    Mutant(
        "the labels of clips that agreement chose are replaced, too",
        "raytag/train/stages/noisy.py",
        "np.where(best[:, None], noisy.targets, found)",
        "found",
        "tests/train/stages/test_noisy.py -k rest_keeps",
    ),
    Mutant(
        "the worst epoch is kept",
        "raytag/train/fold.py",
        "if value > self.best:",
        "if self.epoch == 1 or value < self.best:",
        "tests/train/test_fold.py -k best_epoch",
    ),
    Mutant(
        "a seed without the step",
        "raytag/train/fold.py",
        "keys = (settings.seed, self.cell.key, self.epoch, step)",
        "keys = (settings.seed, self.cell.key, self.epoch, 0)",
        "tests/train/test_fold.py -k step",
    ),
    Mutant(
        "the partner's label gets the sample's weight",
        "raytag/inputs/mixing.py",
        "mixed[added] = (1 - share) * own[added] + share * other[added]",
        "mixed[added] = share * own[added] + (1 - share) * other[added]",
        "tests/inputs/logmel_images/test_augmenter.py",
    ),
    Mutant(
        "tiles begin a frame too early",
        "raytag/inputs/tiling.py",
        "first = number // shifts * step - (missing // 2)[owner]",
        "first = number // shifts * step - (missing // 2 + 1)[owner]",
        "tests/inputs/logmel_images/test_tiles.py",
    ),
    Mutant(
        "a group is split over folds",
        "raytag/datasets/folds.py",
        "pd.factorize(group_names(groups))",
        "pd.factorize(np.arange(len(groups)))",
        "tests/datasets/test_folds.py",
    ),
    Mutant(
        "features of other parameters are taken from the cache",
        "raytag/features/manifest.py",
        'fields = {"format": FORMAT, **Features.identity(features)}',
        'fields = {"format": FORMAT}',
        "tests/features/test_cache.py -k other_parameters",
    ),
    Mutant(
        "a part of another name has the same identity",
        "raytag/families.py",
        'return ({} if part.name == self.default else {"name": part.name}) | part.chosen()',
        "return part.chosen()",
        "tests/test_experiment.py",
    ),
    Mutant(
        "fsync is left out",
        "raytag/store/files.py",
        "file.flush()\n                os.fsync(file.fileno())",
        "file.flush()",
        "tests/store",
    ),
    Mutant(
        "result.json comes first",
        "raytag/store/fold.py",
        "        files = {\n",
        "        self.storage.write_json(RESULT, dict(result))\n        files = {\n",
        "tests/store",
    ),
    Mutant(
        "a living owner's lease is taken",
        "raytag/store/lease.py",
        "if here:",
        "if not other:",
        "tests/store",
    ),
    Mutant(
        "a tie counts for the label",
        "raytag/blends/weights.py",
        "above = rest[j] <= 0.0",
        "above = rest[j] < 0.0",
        "tests/blends/test_weights.py",
    ),
    Mutant(
        "weights are not normalised",
        "raytag/blends/means/base.py",
        "return from_scores(total, float(w.sum()), kind)",
        "return from_scores(total, float(len(w)), kind)",
        "tests/blends/means/test_means.py",
    ),
    Mutant(
        "unusable clips are scored",
        "raytag/ensemble/predictions/oof.py",
        'clips["fname"][lost].tolist(), clips[~lost]',
        'clips["fname"][lost].tolist(), clips',
        "tests/ensemble/predictions",
    ),
    Mutant(
        "test clips stay in a file's own order",
        "raytag/store/predictions.py",
        "class_values(frame, classes, where)[[row[fname] for fname in fnames]]",
        "class_values(frame, classes, where)[list(range(len(row)))]",
        "tests/ensemble/predictions",
    ),
    Mutant(
        "a submitted clip without prediction gets zeros",
        "raytag/ensemble/files.py",
        "test[row[f]] if f in row else test.mean(axis=0)",
        "test[row[f]] if f in row else 0 * test.mean(axis=0)",
        "tests/ensemble/test_files.py",
    ),
    Mutant(
        "batches of tiles end where files were read",
        "raytag/predict.py",
        "ready = len(rows) if last or not chunks else chunks[-1].start",
        "ready = len(rows)",
        "tests/raytag_cli/test_predict.py -k bits",
    ),
    Mutant(
        "each stacker of a fold counts as much as a member",
        "raytag/ensemble/stored.py",
        "[1.0 / len(second)] * len(of_fold)",
        "[1.0] * len(of_fold)",
        "tests/ensemble/test_stored.py",
    ),
    Mutant(
        "a stacker is trained on the fold left out",
        "raytag/ensemble/stackers/case.py",
        "outside = np.flatnonzero(~np.isin(data.fold, case.left_out))",
        "outside = np.flatnonzero(data.fold >= 0)",
        "tests/ensemble/stackers/test_case.py",
    ),
    Mutant(
        "a blend that is ahead by luck is kept",
        "raytag/ensemble/assess/rules.py",
        "difference.mean() <= bootstrap.error(difference)",
        "difference.mean() <= 0",
        "tests/ensemble/assess/test_rules.py",
    ),
    Mutant(
        "the verdict rests on the larger difference",
        "raytag/ensemble/assess/verdict.py",
        "min(nested, own, key=lambda gap: gap.value)",
        "max(nested, own, key=lambda gap: gap.value)",
        "tests/ensemble/assess/test_verdict.py",
    ),
    Mutant(
        "folds are not drawn",
        "raytag/ensemble/assess/bootstrap.py",
        "times[:, k] * len(own)",
        "times[:, 0] * 0 + len(own)",
        "tests/ensemble/assess",
    ),
    Mutant(
        "nested scores are of what was chosen on all folds",
        "raytag/ensemble/assess/assessment.py",
        "nested = collect(outer, lambda _, name=name: name, lambda k: (k,))",
        "nested = collect(outer, lambda _, name=name: name, lambda k: ())",
        "tests/ensemble/test_pipeline.py -k nested_scores",
    ),
    Mutant(
        "an outlier is the first fold",
        "raytag/search/race/fold_order.py",
        'np.argsort(distance, kind="stable")',
        'np.argsort(-distance, kind="stable")',
        "tests/search/race/test_fold_order.py -k typical_first",
    ),
    Mutant(
        "dropped experiments no longer hold the bar",
        "raytag/search/race/rules/paired.py",
        "if not e.failed and state.depth(e) >= depth]",
        "if e.open and state.depth(e) >= depth]",
        "tests/search/race/rules/test_paired.py",
    ),
    Mutant(
        "the portfolio is one too large",
        "raytag/search/race/rules/paired.py",
        "return sorted(means, reverse=True)[keep - 1] if len(means) >= keep + 2 else None",
        "return sorted(means, reverse=True)[keep] if len(means) >= keep + 2 else None",
        "tests/search/race/rules/test_paired.py",
    ),
)


def copy_tree(tree: Path, copy: Path) -> None:
    """The sources and tests without what was built from them; recordings beside the tree are found again."""
    leave = shutil.ignore_patterns(".*", "__pycache__", "runs", "cache", "data", "*.egg-info")
    shutil.copytree(tree, copy, ignore=leave)
    if (tree.parent / "shared").exists():
        (copy.parent / "shared").symlink_to((tree.parent / "shared").resolve())


def run_tests(copy: Path, tests: str) -> tuple[int, str]:
    """Exit code of pytest, and the first test that failed or "". A long time is a failure."""
    words = tests.split(" -k ")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", words[0]]
    command += ["-k", words[1]] if len(words) > 1 else []
    compiled = {"NUMBA_CACHE_DIR": str(copy.parent / "numba")}  # no code of a fault is left where others load it
    found = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_STORAGE_DIRECTORY": str(copy)}
    env = os.environ | compiled | found
    try:
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return 1, "(no test ended within 300 s)"
    failed = re.search(r"^(?:FAILED|ERROR) \S*?([^/\s]+)(?: |$)", done.stdout, re.M)
    return done.returncode, failed[1] if failed else (done.stdout + done.stderr)[-300:]


def try_out(mutant: Mutant, tree: Path) -> bool:
    """Print what became of a fault; whether it was caught."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="raytag-mutant-") as folder:
        copy = Path(folder) / "raytag"
        copy_tree(tree, copy)
        file = copy / mutant.file
        text = file.read_text()
        if text.count(mutant.old) != 1:
            raise SystemExit(f"{mutant.name}: {mutant.file} holds {text.count(mutant.old)} times: {mutant.old}")
        file.write_text(text.replace(mutant.old, mutant.new))
        code, failed = run_tests(copy, mutant.tests)
    if code not in (0, 1):
        raise SystemExit(f"{mutant.name}: its tests could not be run: {failed}")
    outcome = f"caught by {failed}" if code else "SURVIVED"
    print(f"| {mutant.name} | {outcome} | {time.monotonic() - started:.0f} s |", flush=True)
    return bool(code)


def main(names: list[str], mutants: tuple[Mutant, ...] = MUTANTS, tree: Path = REPOSITORY) -> int:
    """0 when all were caught."""
    known = [mutant.name for mutant in mutants]
    wrong = [name for name in names if not any(name in other for other in known)]
    if wrong:
        raise SystemExit(f"no fault is called {wrong[0]!r}; there are:\n" + "\n".join(known))
    chosen = [m for m in mutants if not names or any(name in m.name for name in names)]
    caught = [try_out(mutant, tree) for mutant in chosen]
    print(f"{sum(caught)} of {len(caught)} caught")
    return 0 if all(caught) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
