"""Thirty-two positives at once: the two vector types of the subset kernel.

numba compiles loops one number at a time and hopes that LLVM finds the vectors; where counts must stay in
registers across loops, it does not. Here 32 int16 (margins, counts) and 32 float32 (precisions) are values of
their own inside ``@njit`` functions. LLVM turns 32 int16 into one AVX-512, two AVX2 or four NEON registers, so
the code is portable.

Only for use inside ``@njit`` functions. Indices are into flat, contiguous arrays and are not checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, models, register_model

#: Positives that one vector holds.
LANES = 32

_INT16 = ir.VectorType(ir.IntType(16), LANES)
_FLOAT32 = ir.VectorType(ir.FloatType(), LANES)
_I32 = ir.IntType(32)

# To a type checker these are functions of the values that stand in compiled code, not of numba's types.
_intrinsic: Any = intrinsic


class _Int16x32(types.Type):
    def __init__(self) -> None:
        super().__init__(name="int16x32")


class _Float32x32(types.Type):
    def __init__(self) -> None:
        super().__init__(name="float32x32")


int16x32 = _Int16x32()
float32x32 = _Float32x32()


@register_model(_Int16x32)
class _Int16Model(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _INT16)


@register_model(_Float32x32)
class _Float32Model(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _FLOAT32)


def _pointer(context: Any, builder: Any, sig: Any, args: Any, vector: Any) -> Any:
    array = context.make_array(sig.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), vector.as_pointer())


@_intrinsic
def load_int16(typing_context: Any, array: Any, index: Any) -> Any:
    """``array[index : index + 32]`` of an int16 array."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(context, builder, sig, args, _INT16))
        value.align = 2
        return value

    return int16x32(array, types.intp), generate


@_intrinsic
def store_int16(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """``array[index : index + 32] = vector`` of an int16 array."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        instruction = builder.store(args[2], _pointer(context, builder, sig, args, _INT16))
        instruction.align = 2
        return context.get_dummy_value()

    return types.void(array, types.intp, int16x32), generate


@_intrinsic
def load_float32(typing_context: Any, array: Any, index: Any) -> Any:
    """``array[index : index + 32]`` of a float32 array."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(context, builder, sig, args, _FLOAT32))
        value.align = 4
        return value

    return float32x32(array, types.intp), generate


@_intrinsic
def zeros_int16(typing_context: Any) -> Any:
    """32 zeros, int16."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(_INT16, None)

    return int16x32(), generate


@_intrinsic
def zeros_float32(typing_context: Any) -> Any:
    """32 zeros, float32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(_FLOAT32, None)

    return float32x32(), generate


@_intrinsic
def subtract(typing_context: Any, a: Any, b: Any) -> Any:
    """``a - b``, int16."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sub(*args)

    return int16x32(int16x32, int16x32), generate


@_intrinsic
def count_at_most(typing_context: Any, counts: Any, a: Any, b: Any) -> Any:
    """``counts + (a <= b)``, int16."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.add(args[0], builder.zext(builder.icmp_signed("<=", args[1], args[2]), _INT16))

    return int16x32(int16x32, int16x32, int16x32), generate


@_intrinsic
def add_precisions(typing_context: Any, total: Any, hits: Any, rank: Any, more_hits: Any, more_misses: Any) -> Any:
    """``total + (hits + more_hits) / (rank + more_hits + more_misses)``, float32; the last two are int16."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        total, hits, rank, more_hits, more_misses = args
        hits = builder.fadd(hits, builder.sitofp(more_hits, _FLOAT32))
        rank = builder.fadd(rank, builder.sitofp(builder.add(more_hits, more_misses), _FLOAT32))
        return builder.fadd(total, builder.fdiv(hits, rank))

    return float32x32(float32x32, float32x32, float32x32, int16x32, int16x32), generate


@_intrinsic
def sum_lanes(typing_context: Any, vector: Any) -> Any:
    """Sum of 32 float32 by halving: five additions deep, always in the same order."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, width = args[0], LANES
        while width > 1:
            width //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(
                    value, undefined, ir.Constant(ir.VectorType(_I32, width), list(range(first, first + width)))
                )
                for first in (0, width)
            )
            value = builder.fadd(low, high)
        return builder.extract_element(value, ir.Constant(_I32, 0))

    return types.float32(float32x32), generate
