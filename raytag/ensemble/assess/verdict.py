"""What to do with an ensemble, in one plain sentence."""

from __future__ import annotations

from raytag.ensemble.assess.assessment import Assessment
from raytag.ensemble.assess.bootstrap import Interval
from raytag.ensemble.assess.rules import SINGLE
from raytag.ensemble.choose.ways import WAYS

#: Out-of-fold predictions come from one network an experiment, those of new recordings from one a fold.
_CAUTION = (
    " Expect less on new recordings: there the mean over folds' models gives a single experiment part of what a "
    "blend gains."
)


def verdict(assessment: Assessment, single: str) -> str:
    """Keep it, or what it cannot be told from.

    The difference to the best single model is given twice (`Assessment.to_single`, `Assessment.to_own`); the
    smaller of them decides. Where folds prefer different single models, their nested score is below what either of
    them scores, and a blend that is ahead of it need not be ahead of the model that would be used.

    Parameters
    ----------
    assessment : Assessment
    single : str
        Name of the best single model.
    """
    nested, own = assessment.to_single, assessment.to_own
    if nested is None or own is None:
        return (
            "No verdict: with labels in a single fold nothing could be left out, so how much of the score is "
            "selection is unknown."
        )
    caution = ""
    final, by = assessment.final, "folds and groups" if assessment.grouped else "folds and clips"
    if final.way == SINGLE:
        reason = (
            "as asked" if assessment.given else "no blend is ahead of it by more than the luck of folds and clips"
        )
        sentence = f"Keep the best single model, {single}: {reason}"
    else:
        least, name = min(nested, own, key=lambda gap: gap.value), f"the ensemble ({WAYS[final.way].title})"
        size = f"{_words(least)} lwlrap (95 %, over {by})"
        if least.low > 0:
            sentence, caution = f"Keep {name}: {size} against the best single model, {single}", _CAUTION
        elif least.high < 0:
            sentence = f"Use the best single model, {single}: {name} is worse, {size}"
        else:
            sentence = f"Not distinguishable from the best single model, {single}: {name} has {size}"
        if least is own:
            sentence += f" by its own out-of-fold predictions ({_words(nested)} nested)"
        else:
            sentence += f" nested ({_words(own)} by its own out-of-fold predictions)"
    if assessment.runner_up is not None and assessment.to_runner_up is not None:
        other, gap = WAYS[assessment.runner_up].title, assessment.to_runner_up
        word = "ahead of" if gap.low > 0 else "behind" if gap.high < 0 else "not distinguishable from"
        sentence += f"; {word} {other}, {_words(gap)}"
    return sentence + "." + caution


def _words(gap: Interval) -> str:
    return f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
