"""The noisy clips whose given labels an earlier experiment ranks best."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from raytag import parts
from raytag.experiment import NOISY_CLIPS
from raytag.parts import Needs
from raytag.train.stages.parent import Parent

if TYPE_CHECKING:
    from raytag.train.sources import Split
    from raytag.train.stages.reading import Reading


class Top(parts.Pseudo):
    """Train on those noisy clips alone whose given labels the parent ranks best, with these labels.

    A clip's score is the label-ranking average precision of its given labels under the parent's probabilities
    (`raytag.metrics.clip_precisions`). Many clips score exactly 1: of those with one score the ones come first
    whose labels have the higher mean log-probability.
    """

    parent: Parent
    share: float = Field(0.5, gt=0, le=1)  # of the noisy clips that are kept
    clips: int | None = Field(None, ge=1)  # how many are kept, instead of a share
    reader: Literal["same_fold", "cross_fit", "oof"] = "same_fold"
    # whose predictions are read, see raytag.train.stages.lineage; oof: models that trained on the fold's own labels

    needs: ClassVar[Needs | None] = Needs(NOISY_CLIPS, "Given")

    def check(self, sampling: Any) -> None:
        if not sampling.noisy_prob > 0:
            raise ValueError(
                "pseudo.name=Top chooses noisy clips, and sampling.noisy_prob draws none: set it above 0, or "
                "pseudo.name=Given"
            )

    def learn(self, split: Split, read: Reading) -> tuple[Split, dict[str, Any]]:
        import numpy as np

        from raytag.metrics import clip_precisions

        noisy = next(source for source in split.sources if source.name == "noisy")
        probabilities = read.predictions(noisy.rows)
        scores = clip_precisions(noisy.targets, probabilities)
        logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        certainty = (logs * noisy.targets).sum(1) / np.maximum(noisy.targets.sum(1), 1)
        number = self.clips if self.clips is not None else max(1, round(self.share * len(noisy.rows)))
        best = np.sort(np.lexsort((-certainty, -scores))[:number])
        kept = replace(noisy, rows=noisy.rows[best], targets=noisy.targets[best])
        sources = tuple(kept if source is noisy else source for source in split.sources)
        done = {"rule": self.name, "reader": self.reader, "of": len(noisy.rows), "kept": len(best)}
        return replace(split, sources=sources), done | {"lowest_score": float(scores[best].min())}
