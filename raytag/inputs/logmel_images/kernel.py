"""Bank to batch: the compiled loops of augmentation and of prediction tiles.

One sample is carried through all of its steps before the next begins, so its images (128 KiB each at
128 × 256) stay in the second-level cache and only the finished channels travel to memory:

1. frames of the bank → float32 dB/100, stretched along time where a box asks for it, 16 frames at a time;
2. the 16 frames are transposed into the image, mel bands × frames;
3. the image is stretched along mel, masked, and mixed with the partner's;
4. mel, first and second delta are computed together and written once.

Steps 1 and 3 stretch separately because each runs over contiguous numbers in its own layout.

What keeps LLVM's vectors full, found by measuring: rows are reached by unsigned indices into whole arrays
(signed ones are tested for negative values, and every slice costs a reference count), results are computed
into locals before they are stored, and the margins keep the distance of two rows from being a power of two,
which would map all rows to the same few lines of the cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raytag.compiled.vectors import LANES as TILE
from raytag.compiled.vectors import store_transposed
from raytag.inputs.logmel_images.deltas import EDGE
from raytag.inputs.logmel_images.draws import ADD, SIGMOID, UNMIXED, Draws

#: Columns before and behind every row of an image, so that deltas are computed without a test at the edges.
MARGIN = 16

# Products and sums may be fused and zeros lose their sign; NaN and infinity keep their meaning.
_compiled = njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
_inlined = njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, inline="always")

Image = NDArray[np.float32]
Frames = NDArray[np.int16] | NDArray[np.float32]
Index = int | np.uint64


@_compiled
def augment_batch(
    buffer: Frames,  # (total_frames, n_mels)
    offsets: NDArray[np.int64],  # (n_clips + 1,)
    scale: np.float32,  # buffer's unit in dB, divided by 100
    rows: NDArray[np.int64],  # (B,)
    partners: NDArray[np.int64],  # (B,)
    draws: Draws,
    lowest_radius: int,
    sigmoids: Image,  # (radii, crop_frames): mask of each radius from lowest_radius on
    taps: Image,  # (2, 9): deltas of order 1 and 2
    out: Image,  # (B, 3, n_mels, crop_frames)
) -> None:
    """Augmented, mixed samples; no argument is checked."""
    n_mels, width = out.shape[2], out.shape[3]
    frame_rows, stretched, image = _scratch(n_mels, width)
    other = np.zeros_like(image)
    for b in range(rows.shape[0]):
        _augment(buffer, offsets, scale, rows[b], draws, b, 0, frame_rows, stretched, image, n_mels, width)
        if draws.mixer[b] == UNMIXED:
            _write(image, taps, b, out)
            continue
        _augment(buffer, offsets, scale, partners[b], draws, b, 1, frame_rows, stretched, other, n_mels, width)
        if draws.mixer[b] == ADD:
            # deltas are linear: adding first saves half of them
            _add(image, other, draws.alpha[b], n_mels, width)
            _write(image, taps, b, out)
        elif draws.mixer[b] == SIGMOID:
            _write_concatenated(image, other, sigmoids, draws.radius[b] - lowest_radius, taps, b, out)


@_compiled
def crop_batch(
    buffer: Frames,
    offsets: NDArray[np.int64],
    scale: np.float32,
    rows: NDArray[np.int64],  # (n,)
    first: NDArray[np.int64],  # (n,): frame of the clip that the crop starts with, negative: padding
    taps: Image,
    out: Image,  # (n, 3, n_mels, crop_frames)
) -> None:
    """Plain crops, padded with the minimum of the whole clip; no argument is checked."""
    n_mels, width = out.shape[2], out.shape[3]
    frame_rows, _, image = _scratch(n_mels, width)
    for b in range(rows.shape[0]):
        begin = offsets[rows[b]]
        frames = offsets[rows[b] + 1] - begin
        pad = np.float32(0)
        if first[b] < 0 or first[b] + width > frames:
            pad = _clip_minimum(buffer, begin, frames)
        _read(buffer, begin, frames, first[b], width, False, pad, scale, frame_rows, image, width)
        _write(image, taps, b, out)


@_compiled
def _scratch(n_mels: int, width: int) -> tuple[Image, Image, Image]:
    """Sixteen frames, and two images with margins; sides rounded up to whole tiles."""
    height = (n_mels + TILE - 1) // TILE * TILE
    columns = MARGIN + (width + TILE - 1) // TILE * TILE + MARGIN
    return (
        np.zeros((TILE, height), np.float32),
        np.zeros((height, columns), np.float32),
        np.zeros((height, columns), np.float32),
    )


@_compiled
def _augment(
    buffer: Frames,
    offsets: NDArray[np.int64],
    scale: np.float32,
    row: int,
    draws: Draws,
    b: int,
    which: int,
    frame_rows: Image,
    stretched: Image,
    image: Image,
    n_mels: int,
    width: int,
) -> None:
    """Image ``which`` (0 own, 1 partner) of sample ``b``: pad, crop, resized crop, masks."""
    begin = offsets[row]
    frames = offsets[row + 1] - begin
    wrap = draws.wrap[b, which]
    pad = np.float32(0)
    if frames < width and not wrap:
        pad = _clip_minimum(buffer, begin, frames)
    band, left, bands, box_width = draws.box[b, which]
    first = draws.first[b, which] + left
    if bands == n_mels:
        _read(buffer, begin, frames, first, box_width, wrap, pad, scale, frame_rows, image, width)
    else:
        _read(buffer, begin, frames, first, box_width, wrap, pad, scale, frame_rows, stretched, width)
        _stretch_bands(stretched, band, bands, image, n_mels, width)
    if draws.num_masks[b, which] > 0:
        fill = _image_minimum(image, n_mels, width)
        for i in range(draws.num_masks[b, which]):
            start, extent = draws.mel_masks[b, which, i]
            _fill(image, start, extent, 0, width, fill)
            start, extent = draws.frame_masks[b, which, i]
            _fill(image, 0, n_mels, start, extent, fill)


@_compiled
def _read(
    buffer: Frames,
    begin: int,
    frames: int,
    first: int,
    source_width: int,
    wrap: bool,
    pad: np.float32,
    scale: np.float32,
    frame_rows: Image,
    image: Image,
    width: int,
) -> None:
    """Frames [first, first + source_width) of a clip, stretched to ``width`` columns of the image.

    Bilinear with half-pixel centres and clamped ends: PIL's BILINEAR where nothing shrinks.
    """
    step = source_width / width
    columns = image.shape[1]
    for start in range(0, width, TILE):
        for k in range(min(TILE, width - start)):
            position = min(max((start + k + 0.5) * step - 0.5, 0.0), source_width - 1.0)
            whole = int(position)
            upper = scale * np.float32(position - whole)
            lower = scale - upper
            a = first + whole
            b = first + min(whole + 1, source_width - 1)
            if wrap:
                a %= frames
                b %= frames
            a_inside = 0 <= a < frames
            b_inside = 0 <= b < frames
            if upper == 0 and a_inside:
                _set_frame(frame_rows, k, buffer, begin + a, scale, np.float32(0))
            elif a_inside and b_inside:
                _blend_frames(frame_rows, k, buffer, begin + a, begin + b, lower, upper)
            elif a_inside:
                _set_frame(frame_rows, k, buffer, begin + a, lower, upper * pad)
            elif b_inside:
                _set_frame(frame_rows, k, buffer, begin + b, upper, lower * pad)
            else:
                _set_frame(frame_rows, k, buffer, begin, np.float32(0), scale * pad)
        for band in range(0, buffer.shape[1], TILE):
            place = band * columns + MARGIN + start
            store_transposed(frame_rows, band, frame_rows.shape[1], image, place, columns)


@_compiled
def _set_frame(frame_rows: Image, k: int, buffer: Frames, frame: int, weight: np.float32, plus: np.float32) -> None:
    row, source = np.uint64(k), np.uint64(frame)
    for m in range(np.uint64(buffer.shape[1])):
        frame_rows[row, m] = np.float32(buffer[source, m]) * weight + plus


@_compiled
def _blend_frames(
    frame_rows: Image,
    k: int,
    buffer: Frames,
    lower_frame: int,
    upper_frame: int,
    lower: np.float32,
    upper: np.float32,
) -> None:
    row, a, b = np.uint64(k), np.uint64(lower_frame), np.uint64(upper_frame)
    for m in range(np.uint64(buffer.shape[1])):
        frame_rows[row, m] = np.float32(buffer[a, m]) * lower + np.float32(buffer[b, m]) * upper


@_compiled
def _stretch_bands(source: Image, first_band: int, bands: int, image: Image, n_mels: int, width: int) -> None:
    """Bands [first_band, first_band + bands) of one image, stretched over all bands of another."""
    step = bands / n_mels
    for m in range(n_mels):
        position = min(max((m + 0.5) * step - 0.5, 0.0), bands - 1.0)
        whole = int(position)
        upper = np.float32(position - whole)
        lower = np.float32(1) - upper
        a = np.uint64(first_band + whole)
        b = np.uint64(first_band + min(whole + 1, bands - 1))
        row = np.uint64(m)
        for t in range(np.uint64(MARGIN), np.uint64(MARGIN + width)):
            image[row, t] = lower * source[a, t] + upper * source[b, t]


@_compiled
def _fill(image: Image, band: int, bands: int, first: int, frames: int, value: np.float32) -> None:
    for m in range(np.uint64(band), np.uint64(band + bands)):
        for t in range(np.uint64(MARGIN + first), np.uint64(MARGIN + first + frames)):
            image[m, t] = value


@_compiled
def _clip_minimum(buffer: Frames, begin: int, frames: int) -> np.float32:
    lowest = buffer[begin, 0]
    for t in range(np.uint64(begin), np.uint64(begin + frames)):
        for m in range(np.uint64(buffer.shape[1])):
            lowest = min(lowest, buffer[t, m])
    return np.float32(lowest)


@_compiled
def _image_minimum(image: Image, n_mels: int, width: int) -> np.float32:
    # Minima of columns first: they need no reordering of float comparisons, so they run as vectors.
    lowest = np.empty(width, np.float32)
    for t in range(np.uint64(width)):
        lowest[t] = image[0, t + np.uint64(MARGIN)]
    for m in range(np.uint64(1), np.uint64(n_mels)):
        for t in range(np.uint64(width)):
            value = image[m, t + np.uint64(MARGIN)]
            lowest[t] = value if value < lowest[t] else lowest[t]
    return lowest.min()


@_compiled
def _add(image: Image, other: Image, alpha: np.float32, n_mels: int, width: int) -> None:
    for m in range(np.uint64(n_mels)):
        for t in range(np.uint64(MARGIN), np.uint64(MARGIN + width)):
            image[m, t] += alpha * (other[m, t] - image[m, t])


@_inlined
def _channels(image: Image, m: Index, t: Index, taps: Image) -> tuple[np.float32, np.float32, np.float32]:
    """Mel and both deltas at band m and column t, margin included."""
    x = image[m, t]
    l1, r1 = image[m, t - np.uint64(1)], image[m, t + np.uint64(1)]
    l2, r2 = image[m, t - np.uint64(2)], image[m, t + np.uint64(2)]
    l3, r3 = image[m, t - np.uint64(3)], image[m, t + np.uint64(3)]
    l4, r4 = image[m, t - np.uint64(4)], image[m, t + np.uint64(4)]
    # order 1 is antisymmetric, order 2 symmetric
    first = taps[0, 5] * (r1 - l1) + taps[0, 6] * (r2 - l2) + taps[0, 7] * (r3 - l3) + taps[0, 8] * (r4 - l4)
    second = (
        taps[1, 4] * x
        + taps[1, 5] * (r1 + l1)
        + taps[1, 6] * (r2 + l2)
        + taps[1, 7] * (r3 + l3)
        + taps[1, 8] * (r4 + l4)
    )
    return x, first, second


@_compiled
def _write(image: Image, taps: Image, b: int, out: Image) -> None:
    n_mels, width = out.shape[2], out.shape[3]
    sample = np.uint64(b)
    for m in range(np.uint64(n_mels)):
        for t in range(np.uint64(width)):
            mel, first, second = _channels(image, m, t + np.uint64(MARGIN), taps)
            out[sample, 0, m, t] = mel
            out[sample, 1, m, t] = first
            out[sample, 2, m, t] = second
        _extend_deltas(out, sample, m, np.uint64(width))


@_compiled
def _write_concatenated(
    image: Image, other: Image, sigmoids: Image, radius: int, taps: Image, b: int, out: Image
) -> None:
    """The other image first, this one last."""
    n_mels, width = out.shape[2], out.shape[3]
    sample, mask = np.uint64(b), np.uint64(radius)
    for m in range(np.uint64(n_mels)):
        for t in range(np.uint64(width)):
            mel, first, second = _channels(image, m, t + np.uint64(MARGIN), taps)
            other_mel, other_first, other_second = _channels(other, m, t + np.uint64(MARGIN), taps)
            weight = sigmoids[mask, t]
            out[sample, 0, m, t] = other_mel + weight * (mel - other_mel)
            out[sample, 1, m, t] = other_first + weight * (first - other_first)
            out[sample, 2, m, t] = other_second + weight * (second - other_second)
        # The edges are extended before the images are mixed (see `_extend_deltas`).
        for side in range(2):
            reference = np.uint64(EDGE) if side == 0 else np.uint64(width - EDGE - 1)
            _, first, second = _channels(image, m, reference + np.uint64(MARGIN), taps)
            _, other_first, other_second = _channels(other, m, reference + np.uint64(MARGIN), taps)
            for k in range(np.uint64(EDGE)):
                edge = k if side == 0 else np.uint64(width - 1) - k
                weight = sigmoids[mask, edge]
                out[sample, 1, m, edge] = other_first + weight * (first - other_first)
                out[sample, 2, m, edge] = other_second + weight * (second - other_second)


@_inlined
def _extend_deltas(out: Image, sample: Index, m: Index, width: Index) -> None:
    """Edges by a polynomial fit: the k-th derivative of a polynomial of degree k is one number."""
    for channel in range(np.uint64(1), np.uint64(3)):
        left = out[sample, channel, m, np.uint64(EDGE)]
        right = out[sample, channel, m, width - np.uint64(EDGE + 1)]
        for t in range(np.uint64(EDGE)):
            out[sample, channel, m, t] = left
            out[sample, channel, m, width - np.uint64(1) - t] = right
