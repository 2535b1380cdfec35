"""Vectors as values inside numba functions: 16 float32 of a signal, 32 int16 and float32 of the subset search.

numba compiles array loops one number at a time and leaves it to LLVM to find the vectors. In a Fourier transform,
in a transposition, or where counts must stay in registers across loops, it does not find them. Here a vector is a
type of its own: `vector` makes it, with functions that load and fill it; the others take any. LLVM turns 16 float32
into one AVX-512, two AVX2 or four NEON registers, so the code is portable, and the wider the machine the faster.

Only for use inside ``@njit`` functions. Indices count the elements of contiguous arrays, whatever their shape, and
are not checked; any alignment will do.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

_I32 = ir.IntType(32)

# To a type checker these are functions of the values that stand in compiled code, not of numba's types.
_intrinsic: Any = intrinsic


class Vector(types.Type):
    """numba's type of ``lanes`` numbers; where it is ``fused``, a product and a sum may become one operation."""

    def __init__(self, element: Any, lanes: int, fused: bool) -> None:
        super().__init__(name=f"{element}x{lanes}{' fused' * fused}")
        self.element, self.lanes = element, lanes
        self.align = element.bitwidth // 8  # bytes: all that arrays promise
        self.floating = isinstance(element, types.Float)
        self.flags = ("contract",) if fused else ()

    @property
    def llvm(self) -> Any:
        """LLVM's name of it."""
        return self.of(ir.FloatType() if self.floating else ir.IntType(self.element.bitwidth))

    def of(self, element: Any) -> Any:
        """LLVM's vector of as many elements of another of its types."""
        return ir.VectorType(element, self.lanes)

    def constant(self, number: int) -> Any:
        """The same int32 in every lane."""
        return ir.Constant(self.of(_I32), [number] * self.lanes)


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


def vector(element: Any, lanes: int, fused: bool = False) -> tuple[Any, Any]:
    """``load(array, index)``, the vector of ``array[index : index + lanes]``, and ``splat(number)``, all the same.

    Parameters
    ----------
    element : numba.types.float32 or an integer type
        Of the vectors, and of the arrays that are loaded from.
    lanes : int
        Numbers of a vector, a power of two.
    fused : bool
        Whether ``a * b + c`` may be rounded once instead of twice.
    """
    kind = Vector(element, lanes, fused)

    @_intrinsic
    def load(typing_context: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load(_pointer(context, builder, kind, sig.args[0], *args), align=kind.align)

        return kind(array, types.intp), generate

    @_intrinsic
    def splat(typing_context: Any, number: Any) -> Any:
        def generate(builder: Any, number: Any) -> Any:
            undefined = ir.Constant(kind.llvm, ir.Undefined)
            first = builder.insert_element(undefined, number, ir.Constant(_I32, 0))
            return builder.shuffle_vector(first, undefined, kind.constant(0))

        return kind(kind.element), _values(generate)

    return load, splat


#: Numbers in a vector of a signal.
LANES = 16
load, splat = vector(types.float32, LANES, fused=True)


def _values(generate: Any) -> Any:
    """For numba: what is computed from the values alone."""
    return lambda context, builder, sig, args: generate(builder, *args)


def _pointer(context: Any, builder: Any, kind: Vector, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.llvm.as_pointer())


def _define_operator(function: Any) -> None:
    def instruction(kind: Vector) -> Any:
        name = function.__name__.removeprefix("true")
        return getattr(ir.IRBuilder, f"f{name}" if kind.floating else name, None)  # no division of integers

    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            kind = args[0]
            fits = isinstance(kind, Vector) and args[1:] == (kind,) and instruction(kind)
            return signature(kind, kind, kind) if fits else None

    @lower_builtin(function, Vector, Vector)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return instruction(sig.return_type)(builder, *args, flags=sig.return_type.flags)


for _function in (operator.add, operator.sub, operator.mul, operator.truediv):
    _define_operator(_function)


@_intrinsic
def store(typing_context: Any, array: Any, index: Any, kind: Any) -> Any:
    """``array[index : index + lanes]`` = a vector."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, kind, sig.args[0], *args[:2]), align=kind.align)
        return context.get_dummy_value()

    return types.void(array, types.intp, kind), generate


@_intrinsic
def maximum(typing_context: Any, a: Any, b: Any) -> Any:
    """The larger of each pair of floats; ``b`` where either is NaN."""

    return a(a, a), _values(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))


@_intrinsic
def count_at_most(typing_context: Any, counts: Any, a: Any, b: Any) -> Any:
    """``counts + (a <= b)``, signed integers."""

    def generate(builder: Any, counts: Any, a: Any, b: Any) -> Any:
        return builder.add(counts, builder.zext(builder.icmp_signed("<=", a, b), counts.type))

    return counts(counts, counts, counts), _values(generate)


@_intrinsic
def as_float32(typing_context: Any, integers: Any) -> Any:
    """A vector of signed integers as one of float32, which is not fused."""
    kind = Vector(types.float32, integers.lanes, fused=False)
    return kind(integers), _values(lambda builder, integers: builder.sitofp(integers, kind.llvm))


@_intrinsic
def sum_lanes(typing_context: Any, kind: Any) -> Any:
    """Sum of a vector of floats by halving: always in the same order, five additions deep for 32 of them."""

    def generate(builder: Any, value: Any) -> Any:
        width = kind.lanes
        while width > 1:
            width //= 2
            picks = [ir.Constant(ir.VectorType(_I32, width), list(range(n, n + width))) for n in (0, width)]
            value = builder.fadd(*(builder.shuffle_vector(value, value, pick) for pick in picks))
        return builder.extract_element(value, ir.Constant(_I32, 0))

    return kind.element(kind), _values(generate)


@_intrinsic
def split_power_of_two(typing_context: Any, kind: Any) -> Any:
    """(m, e) with positive, normal float32 = m · 2^e, √½ <= m < √2; both vectors, e of whole numbers."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], kind.of(_I32))
        shift = kind.constant(23)
        exponent = builder.ashr(builder.sub(bits, kind.constant(0x3F3504F3)), shift)  # less the bits of √½
        mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, shift)), kind.llvm)
        return context.make_tuple(builder, sig.return_type, (mantissa, builder.sitofp(exponent, kind.llvm)))

    return types.UniTuple(kind, 2)(kind), generate


@_intrinsic
def store_transposed(
    typing_context: Any, source: Any, start: Any, source_step: Any, target: Any, place: Any, target_step: Any
) -> Any:
    """``target[place + i * target_step + j] = source[start + j * source_step + i]`` for i, j < 16, float32."""
    kind = Vector(types.float32, LANES, fused=True)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, start, source_step, target, place, target_step = args
        rows = []
        for _ in range(LANES):
            pointer = _pointer(context, builder, kind, sig.args[0], source, start)
            rows.append(builder.load(pointer, align=kind.align))
            start = builder.add(start, source_step)
        # Interleaving row j with row j + 8 is a perfect shuffle of the 256 numbers: four of them turn the position
        # (row, column) into (column, row), one bit of the row at a time.
        half = LANES // 2
        picks = [
            ir.Constant(kind.of(_I32), [x for i in part for x in (i, i + LANES)])
            for part in (range(half), range(half, LANES))
        ]
        for _ in range(LANES.bit_length() - 1):
            rows = [builder.shuffle_vector(rows[j], rows[j + half], pick) for j in range(half) for pick in picks]
        for row in rows:
            pointer = _pointer(context, builder, kind, sig.args[3], target, place)
            builder.store(row, pointer, align=kind.align)
            place = builder.add(place, target_step)
        return context.get_dummy_value()

    index = types.intp
    return types.void(source, index, index, target, index, index), generate
