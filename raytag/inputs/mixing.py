"""Labels of two samples that are heard together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raytag.batch import Drawn, Targets


def mix(
    own: NDArray[np.float32],
    other: NDArray[np.float32],
    joined: NDArray[np.bool_],
    added: NDArray[np.bool_],
    alpha: NDArray[np.float32],
    excess: float = 0.0,
) -> NDArray[np.float32]:
    """Evidence on samples and their partners once they are mixed.

    Parameters
    ----------
    own, other : float32 (B, C)
        Of the samples and their partners.
    joined, added : bool (B,)
        Which samples carry the evidence of both, ``clip(own + other - excess, 0, 1)``, and which that of each by
        its share, ``(1 - alpha) own + alpha other``; the rest keep their own.
    alpha : float32 (B,)
        The partners' shares.
    excess : float
        0 for evidence for a class: it is heard where either has it. 1 for evidence against it: only where both lack
        it; then absent stays 1 - present wherever it was.

    Raises
    ------
    ValueError
        Shapes that do not fit each other.
    """
    if own.ndim != 2 or own.shape != other.shape or len(own) != len(joined):
        raise ValueError(
            f"targets and partner_targets must both be ({len(joined)}, n_classes), "
            f"not {own.shape} and {other.shape}"
        )
    mixed = own.copy()
    mixed[joined] = np.clip(own[joined] + other[joined] - np.float32(excess), 0.0, 1.0)
    share = alpha[added, None]
    mixed[added] = (1 - share) * own[added] + share * other[added]
    return mixed


def mixed_targets(
    drawn: Drawn, joined: NDArray[np.bool_], added: NDArray[np.bool_], alpha: NDArray[np.float32]
) -> Targets:
    """Targets of a batch whose samples are mixed so; see `mix`."""
    import torch  # a space is read without it

    present = mix(drawn.present, drawn.partner_present, joined, added, alpha)
    absent = None
    if drawn.absent is not None and drawn.partner_absent is not None:  # both or neither
        absent = torch.from_numpy(mix(drawn.absent, drawn.partner_absent, joined, added, alpha, excess=1.0))
    return Targets(torch.from_numpy(present), torch.from_numpy(drawn.noisy), absent)
