"""Sixteen float32 numbers as one value inside numba functions.

numba compiles array loops one number at a time and leaves it to LLVM to find the vectors; in a Fourier
transform it does not find them. Here the vector is a type of its own: `load` and `store` move it, ``+ - *``
work on it, `splat` fills it. LLVM turns one such value into one AVX-512, two AVX2 or four NEON registers, so
the code is portable, and the wider the machine the faster.

Only for use inside ``@njit`` functions. Indices are into flat, contiguous float32 arrays and are not checked.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

#: Numbers in a vector.
LANES = 16

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)


# To a type checker these are functions of the values that stand in compiled code, not of numba's types.
_intrinsic: Any = intrinsic


class _Float32x16(types.Type):
    def __init__(self) -> None:
        super().__init__(name="float32x16")


float32x16 = _Float32x16()


@register_model(_Float32x16)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _VECTOR)


def _define_operator(function: Any, instruction: str) -> None:
    class Template(ConcreteTemplate):
        cases = [signature(float32x16, float32x16, float32x16)]  # noqa: RUF012

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        # "contract" lets a product and a sum become one fused multiply-add
        return getattr(builder, instruction)(*args, flags=("contract",))

    infer_global(function)(Template)
    lower_builtin(function, float32x16, float32x16)(lower)


_define_operator(operator.add, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")


def _pointer(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array = context.make_array(sig.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), _VECTOR.as_pointer())


@_intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """``array[index : index + 16]`` as a vector; any alignment."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(context, builder, sig, args))
        value.align = 4
        return value

    return float32x16(array, types.intp), generate


@_intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """``array[index : index + 16] = vector``; any alignment."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        instruction = builder.store(args[2], _pointer(context, builder, sig, args))
        instruction.align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, float32x16), generate


@_intrinsic
def splat(typing_context: Any, scalar: Any) -> Any:
    """A vector of sixteen times the same float32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, args[0], ir.Constant(_INTEGERS.element, 0))
        zeros = ir.Constant(_INTEGERS, [0] * LANES)
        return builder.shuffle_vector(first, undefined, zeros)

    return float32x16(types.float32), generate


@_intrinsic
def maximum(typing_context: Any, a: Any, b: Any) -> Any:
    """The larger of each pair; ``b`` where ``a`` is NaN."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[0], args[1])

    return float32x16(float32x16, float32x16), generate


@_intrinsic
def split_power_of_two(typing_context: Any, vector: Any) -> Any:
    """(m, e) with positive, normal vector = m · 2^e, √½ <= m < √2; both vectors, e of whole numbers."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _INTEGERS)
        above = builder.sub(bits, ir.Constant(_INTEGERS, [0x3F3504F3] * LANES))  # the bits of √½
        shift = ir.Constant(_INTEGERS, [23] * LANES)
        exponent = builder.ashr(above, shift)
        mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, shift)), _VECTOR)
        return context.make_tuple(builder, sig.return_type, (mantissa, builder.sitofp(exponent, _VECTOR)))

    return types.UniTuple(float32x16, 2)(float32x16), generate


@_intrinsic
def store_transposed(
    typing_context: Any, source: Any, start: Any, source_step: Any, target: Any, place: Any, target_step: Any
) -> Any:
    """``target[place + i * target_step + j] = source[start + j * source_step + i]`` for i, j < 16."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, start, source_step, target, place, target_step = args
        source = context.make_array(sig.args[0])(context, builder, source).data
        target = context.make_array(sig.args[3])(context, builder, target).data
        rows = []
        for _ in range(LANES):
            row = builder.load(builder.bitcast(builder.gep(source, [start]), _VECTOR.as_pointer()))
            row.align = 4
            rows.append(row)
            start = builder.add(start, source_step)
        # interleaving row j with row j + 8, four times over, is a transposition
        half = LANES // 2
        picks = [
            ir.Constant(_INTEGERS, [x for i in range(half) for x in (first + i, first + i + LANES)])
            for first in (0, half)
        ]
        for _ in range(4):
            pairs = list(zip(rows[:half], rows[half:], strict=True))
            rows = [builder.shuffle_vector(a, b, pick) for a, b in pairs for pick in picks]
        for row in rows:
            pointer = builder.bitcast(builder.gep(target, [place]), _VECTOR.as_pointer())
            builder.store(row, pointer).align = 4
            place = builder.add(place, target_step)
        return context.get_dummy_value()

    index = types.intp
    return types.void(source, index, index, target, index, index), generate
