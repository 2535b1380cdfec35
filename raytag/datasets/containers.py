"""Where WAV, AIFF and Ogg files say that their samples end, and where they do: files are cut, and headers lie.

libsndfile reads what it finds and says nothing when such a file ends early, and nothing at all where the header
announces nothing. FLAC and MP3 need no look: there the decoder fails or returns fewer frames than it announced.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

#: WAV writers that do not know the length beforehand announce this many bytes or more.
_UNKNOWN_SIZE = 0x7FFFF000


class Samples(NamedTuple):
    """Where the samples of a WAV or AIFF file lie.

    Attributes
    ----------
    start : int
        Their first byte.
    announced, length : int
        Bytes, by the header and as they are to be read.
    true_size : (int, str, int)
        What the header holds where it tells the truth: place (byte), `struct` format and number.
    pcm16 : (int, int) or None
        Channels and rate (Hz) of a plain 16-bit WAV file, else None.
    """

    start: int
    announced: int
    length: int
    true_size: tuple[int, str, int]
    pcm16: tuple[int, int] | None


def find_samples(data: bytes) -> Samples | None:
    """Compare the length that a file's header announces with the bytes that are there.

    Recorders that lose power leave 0 or a placeholder as the size of the samples, and some writers count the
    header in: such files are whole, and are read to their end.

    Returns
    -------
    Samples or None
        None of other files than WAV and AIFF, and where the chunk of the samples is not found.

    Raises
    ------
    EOFError
        More is missing than such a slip explains; the message is a sentence with numbers.
    """
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return _walk(data, "<", b"data")
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return _walk(data, ">", b"SSND")
    if data[:4] == b"OggS":
        _check_last_page(data)
    return None


def mended(data: bytes, samples: Samples | None) -> bytes:
    """The file with the true size of its samples in the header, which libsndfile believes."""
    if samples is None:
        return data
    at, form, size = samples.true_size
    if struct.unpack_from(form, data, at)[0] == size:
        return data
    return data[:at] + struct.pack(form, size) + data[at + struct.calcsize(form) :]


def _walk(data: bytes, order: str, wanted: bytes) -> Samples | None:
    """Walk the chunks of a WAV or AIFF file to its samples."""
    position, layout = 12, None
    large: tuple[int, int] | None = None  # RF64: place and value of the true size of "data"
    while position + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, position)
        position += 8
        if name == b"ds64" and len(data) >= position + 16:
            large = position + 8, struct.unpack_from("<Q", data, position + 8)[0]
        if name == b"fmt " and len(data) >= position + 16:
            layout = struct.unpack_from("<HHIIHH", data, position)
            if layout[0] == 0xFFFE and len(data) >= position + 26:  # extensible: the true tag opens the sub-format
                layout = (*struct.unpack_from("<H", data, position + 24), *layout[1:])
        if name == wanted:
            return _compare(data, order, position, size, large, layout)
        position += size + size % 2
    announced = struct.unpack_from(f"{order}I", data, 4)[0] + 8
    if len(data) < announced < _UNKNOWN_SIZE:
        raise EOFError(f"the file ends after {len(data)} of {announced} bytes, before its samples")
    return None


def _compare(
    data: bytes, order: str, position: int, size: int, large: tuple[int, int] | None, layout: tuple[int, ...] | None
) -> Samples:
    """What to read of a chunk of samples whose content begins at ``position``."""
    before = 8 if order == ">" else 0  # AIFF: an offset and the size of blocks, which its size counts
    start = position + before
    announced = large[1] if large is not None and size == 0xFFFFFFFF else max(size - before, 0)
    present = max(len(data) - start, 0)
    unknown = announced >= _UNKNOWN_SIZE if large is None else announced == 2**64 - 1
    length = min(announced, present)
    if announced == 0 and not _are_chunks(data, start, order):
        length = present
    elif announced - present > (start if present else 0) and not unknown:
        raise EOFError(f"the file ends after {present} of {announced} bytes of samples")
    if large is not None and data[:4] == b"RF64":
        true_size = large[0], "<Q", length
    else:
        true_size = position - 4, f"{order}I", min(length + before, 0xFFFFFFFF)
    pcm16 = None
    if layout is not None:
        tag, channels, rate, _, frame_bytes, bits = layout
        if (tag, bits) == (1, 16) and channels > 0 and rate > 0 and frame_bytes == 2 * channels:
            pcm16 = channels, rate
    return Samples(start, announced, length, true_size, pcm16)


def _are_chunks(data: bytes, position: int, order: str) -> bool:
    """Whether chunks fill the file from here on: what follows an empty chunk of samples may be a title."""
    while position + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, position)
        if not all(32 <= letter < 127 for letter in name):
            return False
        position += 8 + size + size % 2
    return position - len(data) in (0, 1)


def _check_last_page(data: bytes) -> None:
    """An Ogg stream is a row of pages, each of which says how long it is (RFC 3533, §6)."""
    page = data.rfind(b"OggS")
    header = page + 27
    segments = data[page + 26] if len(data) > page + 26 else 0
    end = header + segments + sum(data[header : header + segments])
    if len(data) < header + segments or len(data) < end:
        raise EOFError(f"the file ends within its last Ogg page, {len(data) - page} bytes long")
