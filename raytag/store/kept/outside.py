"""Users' files that experiments name, as they were: taken into the run when an experiment is stored.

The text of corrections lies beside the experiment that names it, weights under ``files/`` by their content: many
experiments may begin with the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

from raytag.errors import DamagedError
from raytag.experiment import CorrectionsFile, Experiment, OutsideFile
from raytag.store.files import Storage


def keep_files(storage: Storage, experiment: Experiment, kept: dict[str, int]) -> list[str]:
    """Take the files of an experiment into a run: each may be edited, or gone, tomorrow.

    ``kept`` has the bytes of those weights, by digest, that were found whole there before: they may be large, and
    many experiments begin with the same, so only their size is looked at. What is found whole now joins them.

    Returns
    -------
    list of str
        What was lost or damaged there and is written again, a sentence each.

    Raises
    ------
    ValueError
        A file of weights was changed since the experiment named it, or is gone, and the run does not have it.
    """
    mended = []
    begun = storage.exists(f"experiments/{experiment.id}/experiment.json")
    for field, own in corrections_of(experiment).items():
        name = f"experiments/{experiment.id}/{field}.json"
        there = storage.exists(name)
        if own.text is None or (there and is_content_of(own, storage.read(name))):
            continue
        mended += [f"{storage.where(name)} is {'damaged' if there else 'gone'}: written anew"] * begun
        storage.write(name, own.text.encode())
    for weights in weights_of(experiment):
        name = _place(weights)
        size = storage.sizes("files").get(weights.sha256)
        if size is not None and size == kept.get(weights.sha256):
            continue
        if size is not None and is_content_of(weights, storage.read(name)):
            kept[weights.sha256] = size
            continue
        try:
            with open(weights.file, "rb") as file:
                data = file.read()
        except OSError as error:
            words = f"{error.strerror}, and the run does not have it"
            raise ValueError(f"weights file {weights.file}: {words}") from None
        if not is_content_of(weights, data):
            raise ValueError(f"weights file {weights.file} was changed since it was read: start the launch again")
        mended += [f"{storage.where(name)} is damaged: written anew"] * (size is not None)
        storage.write(name, data)
        kept[weights.sha256] = len(data)
    return mended


def with_texts(storage: Storage, experiment: Experiment) -> Experiment:
    """An experiment with the text of its corrections, where the run still has it."""
    texts = {}
    for field, own in corrections_of(experiment).items():
        with suppress(FileNotFoundError):
            data = storage.read(f"experiments/{experiment.id}/{field}.json")
            if is_content_of(own, data):
                texts[f"sampling.{field}"] = own.model_copy(update={"text": data.decode()})
    return experiment.replace(texts)


def outside_file(storage: Storage, file: OutsideFile) -> bytes:
    """The content of a file that a run keeps.

    Raises
    ------
    DamagedError
        It is not what the experiment named, or is gone.
    """
    try:
        data = storage.read(_place(file))
    except FileNotFoundError as error:
        raise DamagedError(f"{error}: it held {file}") from None
    if not is_content_of(file, data):
        raise DamagedError(f"{storage.where(_place(file))} is damaged: it does not hold what {file} held")
    return data


def corrections_of(experiment: Experiment) -> dict[str, CorrectionsFile]:
    """The corrections that an experiment names, by field."""
    return {k: v for k, v in experiment.sampling.fields().items() if isinstance(v, CorrectionsFile)}


def weights_of(experiment: Experiment) -> Iterator[OutsideFile]:
    """The files of weights that an experiment names."""
    yield from (value for value in experiment.init.fields().values() if isinstance(value, OutsideFile))


def is_content_of(file: OutsideFile, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == file.sha256


def _place(file: OutsideFile) -> str:
    return f"files/{file.sha256}"
