"""A longer training of an experiment goes on from where its shorter twin ended, to the same bits.

Every draw of a training is a function of (seed, fold, epoch, step), so where the learning rate of a step and what
an epoch reads are too (`raytag.experiment.Experiment.open_ended`), twins that differ in ``training.epochs`` alone
make the same steps up to the end of the shorter one.
"""

from __future__ import annotations

from typing import Any

import torch

from raytag.experiment import Experiment
from raytag.store.fold import FoldStore
from raytag.store.run import RunStore
from raytag.train.precision import resolve_precision


def shorter_twin(run: RunStore, experiment: Experiment, fold: int, device: str) -> FoldStore | None:
    """The finished fold of the longest shorter twin that kept its last checkpoint or stopped early; else None.

    It was trained on the same kind of ``device`` (cpu or cuda) in the same precision. Twins are found by their
    identity, which changes with the content of corrections and with the algorithm, so nothing else can differ.
    """
    if not experiment.open_ended:
        return None
    training = experiment.training
    precision = resolve_precision(training.precision, torch.device(device))
    by_hash = {name.rpartition("-")[2]: name for name in run.experiments()}
    for epochs in range(training.epochs - 1, 0, -1):
        shorter = experiment.model_copy(update={"training": training.model_copy(update={"epochs": epochs})})
        if shorter.hash not in by_hash:
            continue
        store = run.fold(by_hash[shorter.hash], fold)
        result, _ = store.look()
        if result is not None:
            files = store.storage.files()
            whole = result.get("stopped_early") and "weights.safetensors" in files
            same = (result["precision"], result["device"]) == (precision, device)
            if same and (whole or any(name.startswith("checkpoint") for name in files)):
                return store
    return None


def take_over(twin: FoldStore, experiment: Experiment, store: FoldStore) -> dict[str, Any]:
    """Finish a fold with what its finished twin holds."""
    own = twin.result()
    result = {**own, "experiment": experiment.id, "continued_from": own["experiment"]}
    store.finish(weights=twin.weights(), oof=twin.oof(), test=twin.test(), curve=twin.curve(), result=result)
    return store.result()
