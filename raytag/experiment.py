"""An experiment: everything that determines a first-level model but the fold and the data.

One frozen value, built of one part for each concern. Every field can be set by its dotted name
(``model.base_size``), from a search space or with ``--set`` on the command line. The identity of an
experiment is a hash of the canonical JSON of all its fields, so two runs that share a hash share a result.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

#: Raised whenever a change of raytag makes training give other numbers for the same experiment.
ALGORITHM_VERSION = 1


#: What the data must have for the fields that are marked with it.
NOISY_CLIPS = "noisy clips"


@dataclass(frozen=True)
class Needs:
    """Marks a field that only some data can use: what they must have, and the value that does without it."""

    what: str
    neutral: Any


class Part(BaseModel):
    """A frozen group of fields; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Features(Part):
    """Waveform to log-mel. The defaults are argus-freesound's (44.1 kHz, 63.9 frames a second)."""

    kind: Literal["logmel"] = "logmel"
    sample_rate: int = Field(44100, gt=0)  # Hz; other rates are resampled
    n_fft: int = Field(2560, gt=0)  # samples
    hop_length: int = Field(690, gt=0)  # samples
    n_mels: int = Field(128, gt=0)  # bands, Slaney scale and area normalisation
    fmin: float = Field(20.0, ge=0)  # Hz
    fmax: float = Field(22050.0, gt=0)  # Hz, at most half the sample rate
    top_db: float = Field(80.0, gt=0)  # dB below the clip's maximum: the floor
    trim_db: float = Field(60.0, gt=0)  # dB below the peak frame: silence cut from both ends
    min_seconds: float = Field(0.5, gt=0)  # s; shorter sounds are widened, then zero padded
    short_clip: Literal["sound", "file_start"] = "sound"
    # where the window of min_seconds lies when the trimmed sound is shorter: centred on the sound itself, or
    # (argus-freesound's fault, kept for fidelity) on half the sound's length counted from the file's start
    channel: Literal["mix", "loudest", "first"] = "mix"
    # what of several channels is heard: their mean (where it cancels, the loudest), or always one of them

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin {self.fmin} Hz must be below fmax {self.fmax} Hz, and fmax at most half of "
                f"sample_rate ({self.sample_rate / 2} Hz)"
            )
        return self


class Augment(Part):
    """What happens to one training sample, in this order: pad, crop, resized crop, SpecAugment."""

    crop_frames: int = Field(256, ge=16)  # frames; also the width of prediction tiles
    wrap_pad_prob: float = Field(0.5, ge=0, le=1)  # short clips: repeat the clip, else pad with its minimum
    resized_crop_prob: float = Field(0.33, ge=0, le=1)
    resized_crop_scale: tuple[float, float] = (0.8, 1.0)  # share of the area kept
    resized_crop_ratio: tuple[float, float] = (1.7, 2.3)  # width/height, log-uniform
    specaugment_prob: float = Field(0.5, ge=0, le=1)
    num_masks: tuple[int, int] = (1, 2)  # rounds, inclusive; each masks one frequency and one time band
    freq_mask_fraction: float = Field(0.15, ge=0, lt=1)  # largest band, share of n_mels
    time_mask_fraction: float = Field(0.20, ge=0, lt=1)  # largest band, share of crop_frames

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("resized_crop_scale", "resized_crop_ratio", "num_masks"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"{name} must be (low, high) with 0 <= low <= high, not ({low}, {high})")
        if not 0 < self.resized_crop_scale[0] <= self.resized_crop_scale[1] <= 1:
            raise ValueError("resized_crop_scale must lie in (0, 1]")
        if self.resized_crop_ratio[0] <= 0:
            raise ValueError("resized_crop_ratio must be positive")
        return self


class Mixers(Part):
    """Mixing two training samples of the same source (curated with curated, noisy with noisy)."""

    prob: float = Field(0.8, ge=0, le=1)  # of mixing at all
    sigmoid_share: float = Field(0.6, ge=0, le=1)  # of mixed samples that are concatenated; the rest are added
    sigmoid_radius: tuple[int, int] = (3, 12)  # inclusive; larger is a sharper border
    add_max_alpha: float = Field(0.5, ge=0, le=1)  # the other sample's weight is uniform in [0, this]

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.sigmoid_radius
        if not 1 <= low <= high:
            raise ValueError(f"sigmoid_radius must be (low, high) with 1 <= low <= high, not ({low}, {high})")
        return self


class Sampling(Part):
    """Where training samples come from. What the two noisy sources leave is drawn from curated clips."""

    samples_per_epoch: int | None = Field(None, ge=1)  # None: as many as there are curated training clips
    # shares of draws from the noisy subset, and from noisy clips with corrected labels
    noisy_prob: Annotated[float, Needs(NOISY_CLIPS, 0.0)] = Field(0.0, ge=0, le=1)
    corrected_noisy_prob: Annotated[float, Needs(NOISY_CLIPS, 0.0)] = Field(0.0, ge=0, le=1)
    curated_corrections: str | None = None  # JSON {fname: "remove" or "label,label"}; its content is hashed
    noisy_corrections: Annotated[str | None, Needs(NOISY_CLIPS, None)] = None  # the same for the noisy subset

    @field_validator("curated_corrections", "noisy_corrections")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        """Trials run in other folders than the launch."""
        return None if path is None else str(Path(path).absolute())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.noisy_prob + self.corrected_noisy_prob > 1:
            raise ValueError("noisy_prob + corrected_noisy_prob must be at most 1")
        if self.corrected_noisy_prob > 0 and self.noisy_corrections is None:
            raise ValueError("corrected_noisy_prob needs noisy_corrections, the file that says which they are")
        return self


class Model(Part):
    """The network; see ``raytag.models``."""

    name: str = "AuxSkipAttention"
    base_size: int = Field(64, ge=1)  # channels of the first block
    dropout: float = Field(0.4, ge=0, lt=1)
    ratio: int = Field(16, ge=1)  # channel attention: reduction
    kernel_size: Literal[3, 7] = 7  # spatial attention
    last_filters: int = Field(8, ge=1)  # merged channels, in units of base_size
    last_fc: int = Field(4, ge=1)  # hidden units of a head, in units of base_size


class Loss(Part):
    """The loss; see ``raytag.losses``."""

    name: str = "OnlyNoisyLSoft"
    beta: float = Field(0.7, ge=0, le=1)  # LSoft: weight of the given label against the prediction
    q: float = Field(0.5, gt=0, le=1)  # Lq: exponent
    alpha: float = Field(0.8, gt=0, le=1)  # BCEMaxOutlier: noisy clips above this share of the largest are dropped
    noisy_weight: float = Field(0.5, ge=0)
    curated_weight: float = Field(0.5, ge=0)
    aux_weights: tuple[float, ...] = (1.0, 0.4, 0.2, 0.1)  # main output first, then deep to shallow


class Optimizer(Part):
    name: Literal["adam", "adamw"] = "adam"
    lr: float = Field(9e-4, gt=0)  # plateau: the start; one_cycle: the peak
    weight_decay: float = Field(0.0, ge=0)


class Schedule(Part):
    """Learning rate. ``plateau`` steps once an epoch on validation lwlrap, ``one_cycle`` once a batch."""

    name: Literal["plateau", "one_cycle"] = "plateau"
    patience: int = Field(6, ge=0)  # plateau: epochs without improvement that are tolerated
    factor: float = Field(0.6, gt=0, lt=1)  # plateau: multiplies the rate
    threshold: float = Field(1e-4, ge=0)  # plateau: relative improvement that counts
    min_lr: float = Field(1e-8, ge=0)  # plateau
    warmup_share: float = Field(0.3, gt=0, lt=1)  # one_cycle: share of all steps that rise
    start_factor: float = Field(0.02, gt=0, le=1)  # one_cycle: first rate, share of the peak
    end_factor: float = Field(2e-5, ge=0, le=1)  # one_cycle: last rate, share of the peak


class Training(Part):
    epochs: int = Field(700, ge=1)
    batch_size: int = Field(128, ge=2)
    early_stopping: int | None = Field(18, ge=1)  # epochs without a new best lwlrap; None: train all epochs
    keep_epoch: Literal["best", "last"] = "best"  # whose weights predict
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # of training; auto: bf16 where the processor has it
    channels_last: bool = True
    tile_step: int | None = Field(None, ge=1)  # frames between prediction tiles; None: half of crop_frames
    seed: int = Field(0, ge=0)


class Experiment(Part):
    """A frozen first-level experiment. The defaults are argus-freesound's competition values.

    ``name`` is a label for people and is left out of the identity.
    """

    name: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")
    features: Features = Features()
    augment: Augment = Augment()
    mixers: Mixers = Mixers()
    sampling: Sampling = Sampling()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    training: Training = Training()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tile_step > self.augment.crop_frames:
            raise ValueError(
                f"training.tile_step {self.tile_step} is above augment.crop_frames {self.augment.crop_frames}: "
                "frames between prediction tiles would be lost"
            )
        return self

    @property
    def tile_step(self) -> int:
        """Frames between the starts of prediction tiles."""
        return self.training.tile_step or max(1, self.augment.crop_frames // 2)

    @property
    def hash(self) -> str:
        """8 hexadecimal digits of SHA-256 over the canonical JSON of all fields but the name."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:8]

    @property
    def id(self) -> str:
        """``NAME-HASH8``, the folder name of the experiment in a run store."""
        return f"{self.name}-{self.hash}"

    def canonical_json(self) -> str:
        """Sorted-key JSON that determines the identity, corrections by content instead of by path."""
        fields = self.model_dump(mode="json", exclude={"name"})
        for key in ("curated_corrections", "noisy_corrections"):
            path = fields["sampling"][key]
            if path is not None:
                fields["sampling"][key] = hashlib.sha256(read_corrections_bytes(path)).hexdigest()
        if fields["features"]["channel"] == "mix":
            # Experiments had no such field at first: without it at its default they keep their names, and runs
            # that are finished their results.
            del fields["features"]["channel"]
        fields["algorithm_version"] = ALGORITHM_VERSION
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    def to_json(self) -> str:
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Experiment:
        return cls.model_validate_json(text)

    def flat(self) -> dict[str, Any]:
        """All fields but the name by dotted key, in declaration order: ``{"model.base_size": 64, …}``."""
        return {
            f"{part}.{field}": value
            for part, fields in self.model_dump(exclude={"name"}).items()
            for field, value in fields.items()
        }

    def replace(self, changes: Mapping[str, Any]) -> Experiment:
        """A copy with dotted fields set.

        Strings are read as JSON where they parse (``"16"``, ``"[3, 7]"``), so values may come from a
        command line.

        Raises
        ------
        ValueError
            An unknown key (the nearest ones are named) or a value that the field does not take.
        """
        known = self.flat()
        data = self.model_dump()
        for key, value in changes.items():
            if key not in known:
                raise ValueError(unknown_key_message(key, list(known)))
            part, field = key.split(".", 1)
            data[part][field] = _parse(value) if isinstance(value, str) else value
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            raise ValueError(_explain(error)) from None


def data_needs() -> dict[str, Needs]:
    """The fields that only some data can use, by dotted key."""
    return {
        f"{part}.{name}": mark
        for part, group in Experiment.model_fields.items()
        if isinstance(group.default, Part)
        for name, field in type(group.default).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Needs)
    }


def unknown_key_message(key: str, known: list[str]) -> str:
    """What to say about a misspelt dotted key: the nearest known ones, else how keys look."""
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    near += [k for k in known if k.split(".")[1] == key.rsplit(".", 1)[-1] and k not in near]
    hint = f"did you mean {' or '.join(near)}?" if near else f"keys look like {known[0]} or {known[-1]}"
    return f"no such field of an experiment: {key!r}; {hint}"


def read_corrections_bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"corrections file {path}: {error.strerror}") from None


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None if text in ("None", "none", "null") else text


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        words = f"{key or 'experiment'}: {item['msg'].removeprefix('Value error, ')}"
        # a fault of several fields names them itself; pydantic would give the whole part
        lines.append(words if isinstance(item["input"], Mapping) else f"{words} (given: {item['input']!r})")
    return "; ".join(lines)
