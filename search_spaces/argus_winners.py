"""The seven first-level models of argus-freesound, first place of Freesound Audio Tagging 2019, as published.

Thousands of clips and GPUs are what they were made for: 32,768 draws an epoch, up to 700 epochs. For a few hundred
clips on a small machine:

    python launch.py --space argus_winners --data recordings --set model.base_size=16 \\
        --set training.batch_size=16 --set sampling.samples_per_epoch=none --set schedule.name=OneCycle \\
        --set training.early_stopping=none --set training.epochs=22

Each model had corrections files of its own, which are yours to bring (docs/argus.md): corrections/NAME.json for the
curated clips of the model NAME, corrections/NAME.noisy.json for the noisy ones, under the folder of the launch.
What is not there is said; without it a model trains on the labels as they are, and what it would draw from
relabelled noisy clips it draws from curated ones.
"""

from pathlib import Path

from raytag.experiment import Experiment, Features, Input, Model, Sampling, Training

RELABELLED = ("corr_noisy_003", "corr_noisy_004", "corr_noisy_007")  # they draw from relabelled noisy clips too


def corrections(name: str) -> str | None:
    path = Path("corrections", f"{name}.json")
    return str(path) if path.is_file() else None


def sampling(name: str, noisy: float, relabelled: float = 0.0, pool: str | None = None) -> Sampling:
    """Where a model's samples come from: shares of all draws, and what of the noisy clips is drawn."""
    fields = {"samples_per_epoch": 32768, "noisy_prob": noisy, "curated_corrections": corrections(name)}
    if relabelled and (file := corrections(f"{name}.noisy")):
        fields |= {"noisy_corrections": file, "corrected_noisy_prob": relabelled, "noisy_pool": pool}
    return Sampling(**fields)


def images(mix_prob: float, **resized_crop: object) -> Input:
    return Input("LogMelImages", tile_step=64, mix_prob=mix_prob, **resized_crop)


COMMON = {"features": Features(pad_mode="reflect"), "training": Training(batch_size=128, epochs=700)}
SKIP = {"input": images(0.66, resized_crop_prob=0.0)} | COMMON
AUX = {"input": images(0.8), "model": Model("AuxSkipAttention")} | COMMON

EXPERIMENTS = [
    Experiment(
        name="corrections_002",
        model=Model("SkipAttention", dropout=0.2, last_fc=2),
        sampling=sampling("corrections_002", noisy=0.33),
        **SKIP,
    ),
    Experiment(
        name="corrections_003",
        model=Model("SkipAttention", dropout=0.2, last_fc=2, kernel_size=3),
        sampling=sampling("corrections_003", noisy=0.33),
        **SKIP,
    ),
    Experiment(name="auxiliary_016", sampling=sampling("auxiliary_016", noisy=0.2), **AUX),
    Experiment(
        name="auxiliary_019",
        sampling=sampling("auxiliary_019", noisy=0.2),
        **AUX | {"input": images(0.8, resized_crop_scale=(0.75, 1.0), resized_crop_ratio=(1.6, 2.4))},
    ),
    Experiment(
        name="corr_noisy_003",
        sampling=sampling("corr_noisy_003", noisy=0.1, relabelled=0.2, pool="original"),
        **AUX | {"model": Model("RnnAuxSkipAttention")},
    ),
    Experiment(
        name="corr_noisy_004",
        sampling=sampling("corr_noisy_004", noisy=0.07, relabelled=0.33, pool="listed"),
        **AUX,
    ),
    Experiment(
        name="corr_noisy_007",
        sampling=sampling("corr_noisy_007", noisy=0.01, relabelled=0.42, pool="all"),
        **AUX,
    ),
]

as_they_are = [e.name for e in EXPERIMENTS if e.sampling.curated_corrections is None]
not_drawn = [e.name for e in EXPERIMENTS if e.name in RELABELLED and e.sampling.noisy_corrections is None]
NOTES = []
if as_they_are:
    NOTES.append(f"No corrections/NAME.json: {', '.join(as_they_are)} train on curated labels as they are")
if not_drawn:
    instead = "draw curated clips instead of relabelled noisy ones"
    NOTES.append(f"No corrections/NAME.noisy.json: {', '.join(not_drawn)} {instead}")
