"""Deltas: the slope and the curvature of each band over time, and the three-channel input of the networks.

Both are Savitzky-Golay derivatives (A. Savitzky and M. Golay, Analytical Chemistry 36, 1964) over nine
frames: the first derivative of a fitted line, the second derivative of a fitted parabola. At the ends the
polynomial of the first or last nine frames is continued (scipy's ``mode="interp"``, librosa's default for
``librosa.feature.delta``). Order 2 is a fit of its own, not the delta of a delta.
"""

from __future__ import annotations

import numpy as np

#: Frames of a fit, and the frames at each end that have no fit of their own.
WIDTH, EDGE = 9, 4
#: dB to the networks' units.
INPUT_SCALE = np.float32(0.01)


def delta_coefficients(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the nine frames for one derivative by time, per frame or per frame squared.

    With n = -4 .. 4, a line has the slope Σ n x[n] / Σ n², and a parabola the second derivative
    2 Σ (n² - s) x[n] / Σ (n² - s)² with s = mean n² = 20/3; the sums are 60 and 308.

    Parameters
    ----------
    order : 1 or 2

    Returns
    -------
    taps : float32 (9,)
        ``delta[t] = Σ_j taps[j] · x[t - 4 + j]`` for 4 <= t < T - 4.
    left_edge : float32 (4, 9)
        ``delta[i] = Σ_j left_edge[i, j] · x[j]``. A fitted line has one slope and a fitted parabola one second
        derivative, so all four rows equal ``taps``.
    right_edge : float32 (4, 9)
        ``delta[T - 4 + i] = Σ_j right_edge[i, j] · x[T - 9 + j]``; again four times ``taps``.
    """
    n = np.arange(WIDTH, dtype=np.float64) - WIDTH // 2
    if order == 1:
        taps = n / np.sum(n**2)
    elif order == 2:
        centered = n**2 - np.mean(n**2)
        taps = 2 * centered / np.sum(centered**2)
    else:
        raise ValueError(f"order must be 1 or 2, not {order}")
    edge = np.tile(taps, (EDGE, 1)).astype(np.float32)
    return taps.astype(np.float32), edge, edge.copy()


def delta(logmel: np.ndarray, order: int) -> np.ndarray:
    """Derivative along the last axis.

    Parameters
    ----------
    logmel : float (..., T)
        At least 9 frames.
    order : 1 or 2

    Returns
    -------
    float32 (..., T)
        Units of ``logmel`` per frame (order 1) or per frame squared (order 2).
    """
    frames = logmel.shape[-1]
    if frames < WIDTH:
        raise ValueError(f"deltas need at least {WIDTH} frames, not {frames}; pad the clip first")
    taps, left_edge, right_edge = (c.astype(np.float64) for c in delta_coefficients(order))
    values = np.asarray(logmel, np.float64)
    out = np.empty(values.shape)
    windows = np.lib.stride_tricks.sliding_window_view(values, WIDTH, axis=-1)
    out[..., EDGE : frames - EDGE] = windows @ taps
    out[..., :EDGE] = values[..., :WIDTH] @ left_edge.T
    out[..., frames - EDGE :] = values[..., -WIDTH:] @ right_edge.T
    return out.astype(np.float32)


def model_input(logmel: np.ndarray) -> np.ndarray:
    """What a network sees of a crop: log-mel, first delta, second delta, each divided by 100.

    Parameters
    ----------
    logmel : float32 (n_mels, T)
        dB.

    Returns
    -------
    float32 (3, n_mels, T)
    """
    channels = np.stack([np.asarray(logmel, np.float32), delta(logmel, 1), delta(logmel, 2)])
    return channels * INPUT_SCALE
