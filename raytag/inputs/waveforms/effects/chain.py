"""All effects of an input, one after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raytag.inputs.waveforms.effects import levels, pieces
from raytag.inputs.waveforms.effects.reverb import reverberated
from raytag.inputs.waveforms.effects.settings import WithEffects
from raytag.inputs.waveforms.effects.stretch import at_speed, at_tempo, pitched

Samples = NDArray[np.float32]
_POINTS = 5  # of an envelope


class Effects:
    """The effects that an input's fields ask for, on samples (n,) at ``rate`` Hz; n may change, never to 0."""

    def __init__(self, settings: WithEffects, rate: int) -> None:
        self.settings, self.rate = settings, rate

    def before_mixing(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """A part, backwards, in another order, with a hole."""
        own = self.settings
        if rng.random() < own.segment_prob:
            share = rng.uniform(*own.segment_shares)
            samples = pieces.piece(samples, max(1, round(share * len(samples))), rng)
        if rng.random() < own.reverse_prob:
            samples = samples[::-1].copy()
        if rng.random() < own.chunks_prob:
            samples = pieces.shuffled(samples, round(own.chunk_seconds * self.rate), rng)
        if rng.random() < own.silence_prob:
            samples = pieces.silenced(samples, round(own.silence_share * len(samples)), rng)
        return samples

    def after_mixing(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """The four effects; then shifted, louder and quieter, noisy."""
        own = self.settings
        if rng.random() < own.effects_prob:
            samples = self.four(samples, rng)
        if rng.random() < own.shift_prob:
            samples = pieces.rolled(samples, rng)
        if rng.random() < own.envelope_prob:
            samples = levels.enveloped(samples, rng.uniform(-own.envelope_db, own.envelope_db, _POINTS))
        if rng.random() < own.noise_prob:
            samples = levels.with_noise(samples, rng.uniform(*own.noise_db), rng)
        return samples

    def four(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Reverb, pitch, overdrive, speed, as far as the fields have them; in the end cut off at full scale."""
        own, rate, given = self.settings, self.rate, samples
        if own.reverb_most is not None:
            reverberance, room_scale = rng.integers(0, own.reverb_most + 1, 2)
            samples = reverberated(samples, rate, float(reverberance), float(room_scale))
        if own.pitch_cents:
            samples = pitched(samples, rate, rng.uniform(-own.pitch_cents, own.pitch_cents))
        if own.overdrive_db is not None:
            low, high = own.overdrive_db
            samples = levels.overdriven(samples, float(rng.integers(low, high + 1)))
        if own.speed_share:
            factor = rng.uniform(1 - own.speed_share, 1 + own.speed_share)
            samples = (at_tempo if own.speed_by == "tempo" else at_speed)(samples, rate, factor)
        return np.clip(samples, -1, 1, out=None if samples is given else samples)
