"""What an earlier experiment's predictions make of the noisy clips: which are trained on, and with which labels.

    Top       the clips whose given labels are ranked best, with these labels
    Match     the clips that are given just the labels that are predicted
    Relabel   all clips with predicted labels
    Merge     all clips with given and predicted labels
    Rest      the clips of Top with the given labels, all others with predicted ones

They are the rules of ex4sperans, third place of Freesound Audio Tagging 2019, as they were meant: its ``scoring``,
``fullmatch``, ``relabelall``, ``relabelall-merge`` and ``relabelall-replacenan``. After the best 5,000 clips were
chosen by agreement the last one was to label the rest. It gave new labels to all clips, and to the wrong ones where
its table was not sorted.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from raytag import parts
from raytag.experiment import NOISY_CLIPS
from raytag.parts import Needs
from raytag.train.stages.parent import Parent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raytag.train.sources import Source, Split
    from raytag.train.stages.reading import Reading


class NoisyRule(parts.Pseudo):
    """Replaces the noisy source of a split; nothing else is changed."""

    parent: Parent
    reader: Literal["same_fold", "cross_fit", "oof"] = "same_fold"
    # whose predictions are read, see raytag.train.stages.lineage; oof: models that trained on the fold's own labels

    needs: ClassVar[Needs | None] = Needs(NOISY_CLIPS, "Given")

    def check(self, sampling: Any) -> None:
        if not sampling.noisy_prob > 0:
            raise ValueError(
                f"pseudo.name={self.name} chooses or labels noisy clips, and sampling.noisy_prob draws none: set "
                "it above 0, or pseudo.name=Given"
            )

    @abstractmethod
    def choose(
        self, noisy: Source, curated: Source, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], dict[str, Any]]:
        """Which noisy clips are trained on, (n,), the labels of all, (n, C), and what a fold's result says of it.

        ``probabilities`` are the parent's of the noisy clips, (n, C); ``curated`` clips are those that the fold
        trains on.
        """

    def learn(self, split: Split, read: Reading) -> tuple[Split, dict[str, Any]]:
        noisy, curated = (next(s for s in split.sources if s.name == name) for name in ("noisy", "curated"))
        kept, targets, done = self.choose(noisy, curated, read.predictions(noisy.rows))
        if not kept.any():
            raise ValueError(
                f"pseudo.name={self.name} leaves none of {len(kept)} noisy clips: {self.parent.id} predicts too "
                "few of their labels. Train it longer, set pseudo.labels higher, or take another rule"
            )
        own = replace(noisy, rows=noisy.rows[kept], targets=targets[kept])
        sources = tuple(own if source is noisy else source for source in split.sources)
        done = {"rule": self.name, "reader": self.reader, "of": len(kept), "kept": int(kept.sum())} | done
        return replace(split, sources=sources), done


class Agreed(NoisyRule):
    """Finds the clips whose given labels the parent ranks best.

    A clip's score is the label-ranking average precision of its given labels under the parent's probabilities
    (`raytag.metrics.clip_precisions`). Many clips score exactly 1: of those with one score the ones come first
    whose labels have the higher mean log-probability.
    """

    share: float = Field(0.5, gt=0, le=1)  # of the noisy clips: those that agree best
    clips: int | None = Field(None, ge=1)  # how many these are, instead of a share

    def best(self, noisy: Source, probabilities: NDArray[np.float32]) -> tuple[NDArray[np.bool_], dict[str, Any]]:
        """Which they are, (n,), and the lowest score among them."""
        import numpy as np

        from raytag.metrics import clip_precisions

        scores = clip_precisions(noisy.targets, probabilities)
        logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        certainty = (logs * noisy.targets).sum(1) / np.maximum(noisy.targets.sum(1), 1)
        number = self.clips if self.clips is not None else max(1, round(self.share * len(noisy.rows)))
        found = np.zeros(len(noisy.rows), dtype=bool)
        found[np.lexsort((-certainty, -scores))[:number]] = True
        return found, {"lowest_score": float(scores[found].min())}


class Labelled(NoisyRule):
    """Predicts labels: of all noisy clips and classes the likeliest, by one threshold for all."""

    labels: float | None = Field(None, gt=0)  # how many a noisy clip gets on average; None: as curated clips have

    def predicted(
        self, curated: Source, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Labels as zeros and ones, (n, C), and the threshold that gave them."""
        import numpy as np

        wanted = self.labels if self.labels is not None else float(curated.targets.sum(1).mean())
        threshold = threshold_for(probabilities, wanted)
        found = (probabilities >= threshold).astype(np.float32)
        return found, {"threshold": threshold, "labels_wanted": wanted, "labels": float(found.sum(1).mean())}


def threshold_for(probabilities: NDArray[np.float32], labels: float) -> float:
    """The least probability of a label, such that clips have as nearly ``labels`` labels on average as can be.

    It is one of the probabilities (n, C) and is reached: equal ones are labels together or not at all, and of two
    thresholds that are equally near it is the higher one. The published search over 10,000 thresholds between 0 and
    1 cannot tell apart what a well trained network predicts of most classes.
    """
    import numpy as np

    values, counts = np.unique(probabilities, return_counts=True)
    labels_from = counts[::-1].cumsum() / len(probabilities)  # by thresholds, the highest first
    return float(values[::-1][np.abs(labels_from - labels).argmin()])


class Top(Agreed):
    """Train on those noisy clips alone whose given labels the parent ranks best, with these labels."""

    def choose(
        self, noisy: Source, curated: Source, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], dict[str, Any]]:
        found, done = self.best(noisy, probabilities)
        return found, noisy.targets, done


class Match(Labelled):
    """Train on those noisy clips alone whose given labels are the predicted ones, all of them and no others."""

    def choose(
        self, noisy: Source, curated: Source, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], dict[str, Any]]:
        found, done = self.predicted(curated, probabilities)
        return (found == noisy.targets).all(1) & (found.max(1) > 0), noisy.targets, done


class Relabel(Labelled):
    """Train on the noisy clips with predicted labels instead of theirs; clips without any are left out."""

    def choose(
        self, noisy: Source, curated: Source, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], dict[str, Any]]:
        found, done = self.predicted(curated, probabilities)
        return found.max(1) > 0, found, done


class Merge(Labelled):
    """Train on all noisy clips with the given labels and the predicted ones."""

    def choose(
        self, noisy: Source, curated: Source, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], dict[str, Any]]:
        found, done = self.predicted(curated, probabilities)
        merged = found.clip(noisy.targets)
        return merged.max(1) > 0, merged, done


class Rest(Agreed, Labelled):
    """Train on the noisy clips that agree best with their given labels, on the rest with predicted ones.

    The threshold is that of all noisy clips. Clips of the rest without any label are left out.
    """

    def choose(
        self, noisy: Source, curated: Source, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], dict[str, Any]]:
        import numpy as np

        best, agreed = self.best(noisy, probabilities)
        found, done = self.predicted(curated, probabilities)
        targets: NDArray[np.float32] = np.where(best[:, None], noisy.targets, found)
        return best | (found.max(1) > 0), targets, agreed | done | {"kept_as_given": int(best.sum())}
