"""An experiment: everything that determines a first-level model but the fold and the data.

One frozen value, built of one part for each concern (`raytag.parts`). Every field can be set by its dotted name
(``model.base_size``), from a search space or with ``--set`` on the command line.

The identity of an experiment is a hash over the fields that differ from their declared defaults, so two runs that
share a hash share a result, and a field or a member of a family that raytag gains later moves no hash. It follows
that a default never changes: what turns out better gets a name of its own.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from raytag import parts
from raytag.families import Family, explain
from raytag.parts import Needs, Part

#: Raised whenever a change of raytag makes training give other numbers for the same experiment.
ALGORITHM_VERSION = 1
#: What the data must have for the fields that are marked with it.
NOISY_CLIPS = "noisy clips"
#: Readers of an earlier stage's predictions that read models which trained on the fold's own labels.
LEAKY = ("oof",)

Features = Family[parts.Features](parts.Features, "features", "raytag.features.sets:FEATURES", "LogMels")
Input = Family[parts.Input](parts.Input, "input", "raytag.inputs:INPUTS", "LogMelImages")
FrontEnd = Family[parts.FrontEnd](parts.FrontEnd, "front_end", "raytag.models.front_ends:FRONT_ENDS", "AsIs")
Model = Family[parts.Network](parts.Network, "model", "raytag.models:MODELS", "AuxSkipAttention")
Loss = Family[parts.Loss](parts.Loss, "loss", "raytag.losses:LOSSES", "OnlyNoisyLSoft")
Optimizer = Family[parts.Optimizer](parts.Optimizer, "optimizer", "raytag.train.optimizers:OPTIMIZERS", "Adam")
Schedule = Family[parts.Schedule](parts.Schedule, "schedule", "raytag.train.schedules:SCHEDULES", "Plateau")
Init = Family[parts.Init](parts.Init, "init", "raytag.train.stages:INITS", "Fresh")
Pseudo = Family[parts.Pseudo](parts.Pseudo, "pseudo", "raytag.train.stages:PSEUDOS", "Given")
#: The parts that are chosen by name.
FAMILIES: Mapping[str, Family[Any]] = {
    f.what: f for f in (Features, Input, FrontEnd, Model, Loss, Optimizer, Schedule, Init, Pseudo)
}


class OutsideFile(Part):
    """A user's file as it was when an experiment named it: later edits change no experiment.

    ``file`` is for people; the content counts, which is kept in the run store (`raytag.store.run.RunStore.add`).
    """

    file: str
    sha256: str  # of its bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __str__(self) -> str:
        return self.file


class CorrectionsFile(OutsideFile):
    """A corrections file. Where it was read back from JSON, the text is in the run store
    (`raytag.store.run.RunStore.experiment`)."""

    text: str | None = Field(None, exclude=True, repr=False)

    @classmethod
    def read(cls, path: str) -> CorrectionsFile:
        """Read a file; what is wrong in it is found when it meets the data (`raytag.datasets.corrections`).

        Raises
        ------
        ValueError
            It cannot be read, or is not UTF-8.
        """
        try:
            data = Path(path).read_bytes()
            text = data.decode("utf-8")
        except OSError as error:
            raise ValueError(f"corrections file {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"corrections file {path}: not UTF-8; save the file with UTF-8 encoding") from None
        return cls(file=str(Path(path).absolute()), sha256=hashlib.sha256(data).hexdigest(), text=text)


def _corrections(value: Any) -> Any:
    return CorrectionsFile.read(str(value)) if isinstance(value, str | Path) else value


#: Given as the path of a JSON file ``{fname: "remove" or "label,label"}``.
Corrections = Annotated[CorrectionsFile | None, BeforeValidator(_corrections)]


class Sampling(Part):
    """Where training samples come from. What the two noisy sources leave of the draws are curated clips."""

    samples_per_epoch: int | None = Field(None, ge=1)  # None: as many as there are curated training clips
    # shares of draws from the noisy subset, and from noisy clips with corrected labels
    noisy_prob: Annotated[float, Needs(NOISY_CLIPS, 0.0)] = Field(0.0, ge=0, le=1)
    corrected_noisy_prob: Annotated[float, Needs(NOISY_CLIPS, 0.0)] = Field(0.0, ge=0, le=1)
    curated_corrections: Corrections = None
    noisy_corrections: Annotated[Corrections, Needs(NOISY_CLIPS, None)] = None  # the same for the noisy subset
    noisy_pool: Annotated[Literal["all", "rest", "listed", "original"] | None, Needs(NOISY_CLIPS, None)] = None
    # the clips of the noisy source, where there are corrections of them: all but the removed ones, with their new
    # labels; the rest of these, without the relabelled ones; the relabelled (listed) ones alone; or the original
    # subset, removed clips too, with its labels. None: rest where relabelled clips are drawn by
    # corrected_noisy_prob, so that no clip is in two sources, else all
    epoch: Literal["draws", "pass"] = "draws"
    # draws: samples_per_epoch clips, each of a source by its share; pass: every training clip once, shuffled. A
    # pass has no shares: noisy_prob and corrected_noisy_prob are 1, such clips are in it, or 0, they are not
    noisy_share: Annotated[Literal["all", "fold"], Needs(NOISY_CLIPS, "all")] = "all"
    # of noisy clips, corrected ones too, a fold trains on all; or on its own of as many parts as there are folds

    @model_validator(mode="after")
    def _check(self) -> Self:
        probs = {"noisy_prob": self.noisy_prob, "corrected_noisy_prob": self.corrected_noisy_prob}
        if self.epoch == "pass":
            self._check_pass(probs)
        elif sum(probs.values()) > 1:
            raise ValueError("noisy_prob + corrected_noisy_prob must be at most 1")
        if self.noisy_share == "fold" and not any(probs.values()):
            raise ValueError(
                "noisy_share=fold chooses among noisy clips, and noisy_prob and corrected_noisy_prob are 0: set "
                "one of them above 0, or noisy_share=all"
            )
        if self.corrected_noisy_prob > 0 and self.noisy_corrections is None:
            raise ValueError("corrected_noisy_prob needs noisy_corrections, the file that says which they are")
        if self.noisy_pool is not None and self.noisy_corrections is None:
            raise ValueError(f"noisy_pool={self.noisy_pool} says what noisy_corrections mean: it needs that file")
        return self

    def _check_pass(self, probs: Mapping[str, float]) -> None:
        for name, prob in probs.items():
            if prob not in (0, 1):
                raise ValueError(
                    f"{name}={prob:g} is a share of draws, and epoch=pass draws none: set {name}=1 for a pass over "
                    f"these clips too, {name}=0 for one without them, or epoch=draws"
                )
        if self.samples_per_epoch is not None:
            raise ValueError(
                f"samples_per_epoch={self.samples_per_epoch} is a number of draws, and epoch=pass draws none: set "
                "samples_per_epoch=none or epoch=draws"
            )
        if all(probs.values()) and self.pool != "rest":
            raise ValueError(f"noisy_pool={self.pool} has clips twice in a pass: leave it none, or at rest")

    @property
    def pool(self) -> str:
        """`noisy_pool`, never None."""
        return self.noisy_pool or ("rest" if self.corrected_noisy_prob > 0 else "all")

    def chosen(self) -> dict[str, Any]:
        # before there were pools, clips were in two sources where None is rest now: that was another training
        both = self.noisy_prob > 0 and self.corrected_noisy_prob > 0
        return super().chosen() | ({"noisy_pool": self.pool} if both else {})


class Training(Part):
    epochs: int = Field(700, ge=1)
    batch_size: int = Field(128, ge=2)
    early_stopping: int | None = Field(18, ge=1)  # epochs without a new best lwlrap; None: train all epochs
    keep_epoch: Literal["best", "last"] = "best"  # whose weights predict
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # of training; auto: bf16 where the processor has it
    channels_last: bool = True
    seed: int = Field(0, ge=0)
    accumulate: int = Field(1, ge=1)
    # batches by whose mean gradient the optimizer steps, fewer at the end of an epoch; networks see one at a time


def _features(value: Any) -> parts.Features:
    if isinstance(value, Mapping):  # experiments of before gave the only set that there was a kind
        value = {key: field for key, field in value.items() if key != "kind"}
    return Features.parse(value)


class Experiment(Part):
    """A frozen first-level experiment. The defaults are argus-freesound's competition values.

    ``name`` is a label for people and is left out of the identity.

    Attributes
    ----------
    settable : bool
        Whether options of a launch set its fields too where another experiment learns from it.
    """

    settable: ClassVar[bool] = True

    name: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")
    features: Annotated[SerializeAsAny[parts.Features], BeforeValidator(_features)] = Field(
        default_factory=Features
    )
    input: Annotated[SerializeAsAny[parts.Input], BeforeValidator(Input.parse)] = Field(default_factory=Input)
    front_end: Annotated[SerializeAsAny[parts.FrontEnd], BeforeValidator(FrontEnd.parse)] = Field(
        default_factory=FrontEnd
    )
    sampling: Sampling = Sampling()
    model: Annotated[SerializeAsAny[parts.Network], BeforeValidator(Model.parse)] = Field(default_factory=Model)
    loss: Annotated[SerializeAsAny[parts.Loss], BeforeValidator(Loss.parse)] = Field(default_factory=Loss)
    optimizer: Annotated[SerializeAsAny[parts.Optimizer], BeforeValidator(Optimizer.parse)] = Field(
        default_factory=Optimizer
    )
    schedule: Annotated[SerializeAsAny[parts.Schedule], BeforeValidator(Schedule.parse)] = Field(
        default_factory=Schedule
    )
    training: Training = Training()
    init: Annotated[SerializeAsAny[parts.Init], BeforeValidator(Init.parse)] = Field(default_factory=Init)
    pseudo: Annotated[SerializeAsAny[parts.Pseudo], BeforeValidator(Pseudo.parse)] = Field(default_factory=Pseudo)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.input.reads != type(self.features).__name__:  # of a plugin's without its hash
            raise ValueError(
                f"input.name={self.input.name} reads {self.input.reads} and features.name is {self.features.name}: "
                f"set features.name={self.input.reads}, or another input"
            )
        self.pseudo.check(self.sampling)
        self.sample_shape  # noqa: B018 - a front end refuses what it does not take
        return self

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what the network sees of a sample: (channels, bands, frames) or (samples,)."""
        return self.front_end.shape(self.features, self.input.shape(self.features))

    @property
    def hash(self) -> str:
        """8 hexadecimal digits of SHA-256 over `canonical_json`."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:8]

    @property
    def id(self) -> str:
        """``NAME-HASH8``, the folder name of the experiment in a run store."""
        return f"{self.name}-{self.hash}"

    @property
    def parents(self) -> tuple[Experiment, ...]:
        """The experiments that it reads itself."""
        found = {e.hash: e for e in (self.init.earlier, self.pseudo.earlier) if e is not None}
        return tuple(found.values())

    @property
    def ancestors(self) -> tuple[Experiment, ...]:
        """All that it learns from, whatever they read before them; none twice."""
        found: dict[str, Experiment] = {}
        for parent in self.parents:
            found |= {e.hash: e for e in (*parent.ancestors, parent)}
        return tuple(found.values())

    @property
    def stage(self) -> int:
        """1 for what learns from the data alone, else one more than the latest of its parents."""
        return 1 + max((parent.stage for parent in self.parents), default=0)

    @property
    def leaky(self) -> bool:
        """Whether labels of a fold reach the model that is scored on them, through what it reads."""
        return self.pseudo.reads_by in LEAKY or any(parent.leaky for parent in self.parents)

    @property
    def open_ended(self) -> bool:
        """Whether the first steps are the same however many epochs it has."""
        return self.schedule.open_ended and self.input.open_ended

    @property
    def watches(self) -> bool:
        """Whether the labels of the fold that is left out decide on the epoch or the rate, here or in a parent."""
        training = self.training
        own = training.keep_epoch == "best" or training.early_stopping is not None or self.schedule.watches
        return own or any(parent.watches for parent in self.parents)

    def canonical_json(self) -> str:
        """Sorted-key JSON that determines the identity: what differs from the defaults.

        A part of a family stands with its name where that is not the default; files stand by their content, and
        earlier experiments by theirs.
        """
        differing: dict[str, Any] = {"algorithm_version": ALGORITHM_VERSION}
        for name, part in self.all_parts().items():
            chosen = FAMILIES[name].identity(part) if name in FAMILIES else part.chosen()
            for field in chosen:
                value = getattr(part, field, None)
                if isinstance(value, OutsideFile):
                    chosen[field] = value.sha256
                elif isinstance(value, Experiment):
                    chosen[field] = hashlib.sha256(value.canonical_json().encode()).hexdigest()
            if chosen:
                differing[name] = chosen
        return json.dumps(differing, sort_keys=True, separators=(",", ":"))

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"Experiment({self.id})"  # of all fields nobody reads; it stands in spaces and in their keys

    def to_json(self) -> str:
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Experiment:
        return cls.model_validate_json(text)

    def all_parts(self) -> dict[str, Part]:
        """The parts by name, in declaration order."""
        return {name: value for name, value in self.fields().items() if isinstance(value, Part)}

    def flat(self) -> dict[str, Any]:
        """All fields but the name by dotted key, in declaration order: ``{"model.base_size": 64, …}``."""
        found = {}
        for name, part in self.all_parts().items():
            if isinstance(part, parts.Member):
                found[f"{name}.name"] = part.name
            found |= {f"{name}.{field}": value for field, value in part.fields().items()}
        return found

    def replace(self, changes: Mapping[str, Any]) -> Experiment:
        """A copy with dotted fields set; another name of a part takes its own defaults for what is not said.

        Strings are read as JSON where they parse (``"16"``, ``"[3, 7]"``), so values may come from a
        command line.

        Raises
        ------
        ValueError
            An unknown key (the nearest ones are named) or a value that the field does not take.
        """
        own, by_part = self.all_parts(), dict[str, dict[str, Any]]()
        for key, value in changes.items():
            name, _, field = key.partition(".")
            if name not in own or not field or (name not in FAMILIES and field not in own[name].fields()):
                raise ValueError(unknown_key_message(key, list(self.flat())))
            by_part.setdefault(name, {})[field] = _parse(value) if isinstance(value, str) else value
        data = self.fields()
        try:
            for name, fields in by_part.items():
                if name in FAMILIES:
                    data[name] = FAMILIES[name].changed(own[name], fields)
                else:
                    data[name] = own[name].fields() | fields
            return type(self).model_validate(data)
        except ValidationError as error:
            raise ValueError(explain(error)) from None


def data_needs(experiments: Iterable[Experiment]) -> dict[str, Needs]:
    """The fields of experiments that only some data can use, by dotted key; those of earlier stages too."""
    groups = [
        (part, group)
        for experiment in experiments
        for one in (*experiment.ancestors, experiment)
        for part, group in one.all_parts().items()
    ]
    found = {
        f"{part}.{name}": mark
        for part, group in groups
        for name, field in type(group).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Needs)
    }
    named = {
        f"{part}.name": group.needs for part, group in groups if isinstance(group, parts.Member) and group.needs
    }
    return found | named


def unknown_key_message(key: str, known: list[str]) -> str:
    """What to say about a misspelt dotted key: the nearest known ones, else how keys look."""
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    near += [k for k in known if k.split(".")[1] == key.rsplit(".", 1)[-1] and k not in near]
    hint = f"did you mean {' or '.join(near)}?" if near else f"keys look like {known[0]} or {known[-1]}"
    return f"no such field of an experiment: {key!r}; {hint}"


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None if text in ("None", "none", "null") else text
