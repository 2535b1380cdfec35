"""Transposing 16 × 16 tiles of float32 inside numba functions.

A bank stores frames one after another, a network wants mel bands: everything that augmentation reads is
transposed once. A loop over elements moves one number at a time, because LLVM finds no vectors in it; here
the tile goes through sixteen vectors. LLVM lowers them to whatever registers the machine has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

#: Rows and columns of a tile.
TILE = 16


@intrinsic
def transpose_tile(
    typing_context: Any, source: Any, source_column: Any, target: Any, target_row: Any, target_column: Any
) -> Any:
    """``target[r : r + 16, c : c + 16] = source[:16, s : s + 16].T``, without a check of any bound.

    ``source`` and ``target`` are 2-D float32 arrays whose rows are contiguous; the arguments in order are
    ``source, s, target, r, c``.
    """
    vector = ir.VectorType(ir.FloatType(), TILE)
    index = ir.IntType(64)

    def row_pointer(context: Any, builder: Any, array_type: Any, array: Any, row: Any, column: Any) -> Any:
        """Pointer to element (row, column) and the bytes from one row to the next."""
        struct = context.make_array(array_type)(context, builder, array)
        row_bytes = cgutils.unpack_tuple(builder, struct.strides)[0]
        start = builder.gep(struct.data, [column])
        start = builder.bitcast(start, ir.IntType(8).as_pointer())
        return builder.gep(start, [builder.mul(row, row_bytes)]), row_bytes

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source_value, source_column_value, target_value, row, column = args
        zero = ir.Constant(index, 0)
        start, stride = row_pointer(context, builder, sig.args[0], source_value, zero, source_column_value)
        rows = []
        for k in range(TILE):
            pointer = builder.gep(start, [builder.mul(stride, ir.Constant(index, k))])
            value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
            value.align = 4
            rows.append(value)
        # Interleaving vector k with vector k + 8 is a perfect shuffle of the 256 numbers: four of them turn
        # the position (row, column) into (column, row), one bit of the row at a time.
        half = TILE // 2
        masks = [
            ir.Constant(ir.VectorType(ir.IntType(32), TILE), [j for i in part for j in (i, TILE + i)])
            for part in (range(half), range(half, TILE))
        ]
        for _ in range(TILE.bit_length() - 1):
            rows = [builder.shuffle_vector(rows[k], rows[k + half], mask) for k in range(half) for mask in masks]
        start, stride = row_pointer(context, builder, sig.args[2], target_value, row, column)
        for k in range(TILE):
            pointer = builder.gep(start, [builder.mul(stride, ir.Constant(index, k))])
            builder.store(rows[k], builder.bitcast(pointer, vector.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp), generate
