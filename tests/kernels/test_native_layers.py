"""All layers in one native call against the same layers made of torch operations and single kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.kernels.grouped_linear import (
    AMX,
    AMX_EMULATED,
    AVX2,
    AVX512_VNNI,
    GroupedStack,
    pack,
    quantize_groups,
    stack,
    stacked_linear,
)
from holefill.kernels.library import library
from holefill.kernels.native_attention import native_attention
from holefill.kernels.native_layers import LayerShape, LayerWeights, LowRank, NativeLayers, supports

SHAPE = LayerShape(heads=6, kv_heads=2, head_dim=32, eps=1e-6)
HIDDEN, INNER, LAYERS, CACHED = 96, 608, 2, 21
CACHE_STEP = 1e-4  # fp32 sums in another order
FLIPS = 2e-2  # fp32 sums in another order may round a few activations to the next int8 code

pytestmark = pytest.mark.skipif(
    not supports(SHAPE.head_dim), reason="no native layers here: no C++ compiler or no VNNI"
)


def four_bits(out: int, size: int, rng: torch.Generator) -> GroupedStack:
    codes = torch.randint(0, 16, (out, size), generator=rng, dtype=torch.uint8).numpy()
    scales = (torch.rand(out, size // 32, generator=rng) * 0.02).half().numpy()
    return GroupedStack((pack(codes, scales, (scales * -7.5).astype(scales.dtype), bits=4, group=32),))


def eight_bits(out: int, size: int, rng: torch.Generator) -> GroupedStack:
    return GroupedStack((quantize_groups(torch.randn(out, size, generator=rng) / size**0.5),))


def layer(seed: int) -> LayerWeights:
    rng = torch.Generator().manual_seed(seed)
    heads, kv = SHAPE.heads * SHAPE.head_dim, SHAPE.kv_heads * SHAPE.head_dim
    qkv = stack(
        [*eight_bits(heads, HIDDEN, rng).parts, *four_bits(kv, HIDDEN, rng).parts, *eight_bits(kv, HIDDEN, rng).parts]
    )
    assert len(qkv.parts) == 3
    norms = torch.rand(2, HIDDEN, generator=rng) + 0.5
    return LayerWeights(
        attn_norm=norms[0].clone(),
        qkv=qkv,
        qkv_bias=torch.randn(heads + 2 * kv, generator=rng) * 0.1,
        o=eight_bits(HIDDEN, heads, rng),
        mlp_norm=norms[1].clone(),
        gate_up=four_bits(2 * INNER, HIDDEN, rng),
        down=eight_bits(HIDDEN, INNER, rng),
    )


def low_rank(matrix: GroupedStack, rng: torch.Generator) -> LowRank:
    out, size = matrix.shape
    return LowRank(eight_bits(32, size, rng), eight_bits(out, 32, rng))


def with_additions(weights: LayerWeights, seed: int) -> LayerWeights:
    """One of the four products, another in each layer, has none."""
    rng = torch.Generator().manual_seed(seed)
    more = [low_rank(matrix, rng) for matrix in weights.matrices()]
    return replace(weights, additions=tuple(None if index == seed else one for index, one in enumerate(more)))


WEIGHTS = [layer(seed) for seed in range(LAYERS)] if supports(SHAPE.head_dim) else []
ADAPTED = [with_additions(weights, seed) for seed, weights in enumerate(WEIGHTS)]


def tables(positions: Tensor) -> tuple[Tensor, Tensor]:
    half = SHAPE.head_dim // 2
    angles = positions.float()[:, None, None] * (1 / 1e4 ** (torch.arange(half) / half))
    return angles.cos().repeat(1, 1, 2), torch.cat((-angles.sin(), angles.sin()), dim=-1)


def oracle(
    x: Tensor,
    cos_sin: tuple[Tensor, Tensor],
    keys: Tensor,
    values: Tensor,
    length: int,
    hidden: Tensor | None,
    weights: list[LayerWeights],
) -> Tensor:
    cos, sin = cos_sin
    n, turned = len(x), SHAPE.heads + SHAPE.kv_heads

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + SHAPE.eps) * weight

    def product(w: LayerWeights, which: int, x: Tensor) -> Tensor:
        y, more = stacked_linear(x, w.matrices()[which]), w.additions[which]
        return y if more is None else y + stacked_linear(stacked_linear(x, more.a), more.b)

    for index, w in enumerate(weights):
        assert w.qkv_bias is not None
        qkv = product(w, 0, norm(x, w.attn_norm)) + w.qkv_bias
        rows = qkv.view(n, turned + SHAPE.kv_heads, SHAPE.head_dim)
        qk = rows[:, :turned] * cos + rows[:, :turned].roll(SHAPE.head_dim // 2, dims=-1) * sin
        keys[index, :, length : length + n] = qk[:, SHAPE.heads :].transpose(0, 1)
        values[index, :, length : length + n] = rows[:, turned:].transpose(0, 1)
        seen_keys, seen_values = keys[index, :, : length + n], values[index, :, : length + n]
        out = native_attention(qk[:, : SHAPE.heads], seen_keys, seen_values, hidden, SHAPE.head_dim**-0.5)
        x = x + product(w, 1, out.view(n, -1))
        gate, up = product(w, 2, norm(x, w.mlp_norm)).chunk(2, dim=1)
        x = x + product(w, 3, F.silu(gate) * up)
    return x


Forward = Callable[[Tensor, tuple[Tensor, Tensor], Tensor, Tensor, int | Tensor, Tensor | None], Tensor]


def native(layers: NativeLayers) -> Forward:
    """Behind so many rows, or with a table of them."""

    def run(
        x: Tensor, cos_sin: tuple[Tensor, Tensor], keys: Tensor, values: Tensor, at: int | Tensor, hidden: Tensor | None
    ) -> Tensor:
        rows = torch.arange(at + len(x), dtype=torch.int32) if isinstance(at, int) else at
        layers(out := x.clone(), cos_sin, keys, values, rows, hidden)
        return out

    return run


def cache(seed: int = 5) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shape = (2, LAYERS, SHAPE.kv_heads, CACHED + 48, SHAPE.head_dim)
    keys, values = torch.randn(shape, generator=rng).unbind()
    return keys.contiguous(), values.contiguous()


def kept(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    keys, values = cache()
    return keys.to(dtype), values.to(dtype)


def inputs(n: int) -> Tensor:
    return torch.randn(n, HIDDEN, generator=torch.Generator().manual_seed(n))


@pytest.fixture
def restore_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


TREE = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]], dtype=torch.bool)


@pytest.mark.parametrize("weights", [WEIGHTS, ADAPTED], ids=["plain", "adapted"])
@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 24])
def test_equals_the_single_operations(n: int, weights: list[LayerWeights]) -> None:
    x, cos_sin = inputs(n), tables(torch.arange(CACHED, CACHED + n))
    ours, theirs = cache(), cache()
    y = native(NativeLayers(weights, SHAPE))(x, cos_sin, *ours, CACHED, None)
    expected = oracle(x, cos_sin, *theirs, CACHED, None, weights)
    for mine, other in zip(ours, theirs, strict=True):
        apart = (mine[0] - other[0]).abs() > CACHE_STEP * (1 + other[0].abs())
        assert apart.any(dim=0).any(dim=-1).sum() <= 1, "more than one row of the first layer has a flip"
        torch.testing.assert_close(mine, other, atol=FLIPS * float(other.abs().max()), rtol=0)
        assert torch.equal(mine[:, :, :CACHED], other[:, :, :CACHED])
    assert (y - expected).abs().max() <= FLIPS * expected.abs().max()


@pytest.mark.parametrize("field", ["attn_norm", "mlp_norm", "qkv_bias"])
def test_a_planted_fault_is_seen(field: str) -> None:
    x, cos_sin = inputs(3), tables(torch.arange(CACHED, CACHED + 3))
    wrong = [replace(w, **{field: getattr(w, field).roll(1)}) for w in WEIGHTS]
    y = native(NativeLayers(wrong, SHAPE))(x, cos_sin, *cache(), CACHED, None)
    expected = oracle(x, cos_sin, *cache(), CACHED, None, WEIGHTS)
    assert (y - expected).abs().max() > FLIPS * expected.abs().max()


@pytest.mark.parametrize("which", range(4))
def test_a_lost_addition_is_seen(which: int) -> None:
    x, cos_sin = inputs(3), tables(torch.arange(CACHED, CACHED + 3))
    additions = [tuple(None if at == which else more for at, more in enumerate(w.additions)) for w in ADAPTED]
    y = native(NativeLayers(WEIGHTS, SHAPE).adapted(additions))(x, cos_sin, *cache(), CACHED, None)
    expected = oracle(x, cos_sin, *cache(), CACHED, None, ADAPTED)
    assert (y - expected).abs().max() > FLIPS * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
@pytest.mark.parametrize("weights", [WEIGHTS, ADAPTED], ids=["plain", "adapted"])
def test_rows_are_the_same_one_at_a_time(weights: list[LayerWeights], dtype: torch.dtype) -> None:
    run, n = native(NativeLayers(weights, SHAPE)), 19
    x, positions = inputs(n), torch.arange(CACHED, CACHED + n)
    together, alone = kept(dtype), kept(dtype)
    y = run(x, tables(positions), *together, CACHED, None)
    for row in range(n):
        at = slice(row, row + 1)
        assert torch.equal(run(x[at], tables(positions[at]), *alone, CACHED + row, None), y[at])
    assert torch.equal(together[0], alone[0])
    assert torch.equal(together[1], alone[1])


@pytest.mark.parametrize("weights", [WEIGHTS, ADAPTED], ids=["plain", "adapted"])
@pytest.mark.parametrize(("n", "wanted"), [(1, 1), (19, 0), (19, 1), (19, 18), (19, 19), (40, 3), (40, 39)])
def test_rows_nobody_wants_are_cached_alike(n: int, wanted: int, weights: list[LayerWeights]) -> None:
    layers, x, cos_sin = NativeLayers(weights, SHAPE), inputs(n), tables(torch.arange(CACHED, CACHED + n))
    rows, whole, part = torch.arange(CACHED + n, dtype=torch.int32), cache(), cache()
    expected = native(layers)(x, cos_sin, *whole, CACHED, None)
    assert layers(y := x.clone(), cos_sin, *part, rows, None, wanted=wanted)
    assert torch.equal(y[wanted:], expected[wanted:])
    assert torch.equal(part[0], whole[0])
    assert torch.equal(part[1], whole[1])
    assert not wanted or not torch.equal(y[:wanted], expected[:wanted]), "the last layer was computed for all"


@pytest.mark.parametrize("wanted", [1, 2, 3, 4])
def test_what_is_wanted_of_a_tree_is_the_same_alone(wanted: int) -> None:
    layers, x, cos_sin = NativeLayers(WEIGHTS, SHAPE), inputs(4), tables(torch.arange(CACHED, CACHED + 4))
    rows, whole, part = torch.arange(CACHED + 4, dtype=torch.int32), cache(), cache()
    expected = native(layers)(x, cos_sin, *whole, CACHED, TREE.logical_not())
    assert layers(y := x.clone(), cos_sin, *part, rows, TREE.logical_not(), wanted=wanted)
    assert torch.equal(y[wanted:], expected[wanted:])
    assert torch.equal(part[0], whole[0])
    assert torch.equal(part[1], whole[1])


@pytest.mark.parametrize("n", [1, 19])
def test_a_cache_of_halves_is_the_rounded_one(n: int) -> None:
    run, x, cos_sin = native(NativeLayers(WEIGHTS, SHAPE)), inputs(n), tables(torch.arange(CACHED, CACHED + n))
    whole, halves = cache(), [buffer.half() for buffer in cache()]
    expected = run(x, cos_sin, *whole, CACHED, None)
    y = run(x, cos_sin, halves[0], halves[1], CACHED, None)
    assert (y - expected).abs().max() <= FLIPS * expected.abs().max()
    for mine, other in zip(halves, whole, strict=True):
        assert torch.equal(mine[0], other[0].half()), "the first layer's do not depend on the cache"
        assert torch.equal(mine[:, :, CACHED + n :], other[:, :, CACHED + n :].half())


def test_a_branch_of_a_tree_is_the_same_alone() -> None:
    run, x = native(NativeLayers(WEIGHTS, SHAPE)), inputs(4)
    positions = CACHED + torch.tensor([0, 1, 1, 2])
    y = run(x, tables(positions), *cache(), CACHED, TREE.logical_not())
    branch = torch.tensor([0, 2, 3])
    assert torch.equal(run(x[branch], tables(positions[branch]), *cache(), CACHED, None), y[branch])
    causal = run(x, tables(positions), *cache(), CACHED, None)
    assert not torch.equal(causal[2], y[2])


@pytest.mark.parametrize("hidden", [None, TREE.logical_not()], ids=["chain", "tree"])
def test_where_rows_lie_changes_no_bit(hidden: Tensor | None) -> None:
    run, x, cos_sin = native(NativeLayers(WEIGHTS, SHAPE)), inputs(4), tables(torch.arange(CACHED, CACHED + 4))
    plain = cache()
    expected = run(x, cos_sin, *plain, CACHED, hidden)
    rows = torch.randperm(90, generator=torch.Generator().manual_seed(3))[: CACHED + 4].int()
    pool = torch.full((2, LAYERS, SHAPE.kv_heads, 90, SHAPE.head_dim), torch.nan)
    for buffer, whole in zip(pool, cache(), strict=True):
        buffer[:, :, rows[:CACHED]] = whole[:, :, :CACHED]
    untouched = torch.ones(90, dtype=torch.bool).index_fill(0, rows.long(), value=False)
    assert torch.equal(run(x, cos_sin, pool[0], pool[1], rows, hidden), expected)
    for buffer, whole in zip(pool, plain, strict=True):
        assert torch.equal(buffer[:, :, rows], whole[:, :, : CACHED + 4])
        assert buffer[:, :, untouched].isnan().all()
    assert not torch.equal(run(x, cos_sin, pool[0], pool[1], rows.roll(1), hidden), expected)


@pytest.mark.parametrize("weights", [WEIGHTS, ADAPTED], ids=["plain", "adapted"])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 48])
def test_amx_gives_the_bits_of_vnni(n: int, weights: list[LayerWeights]) -> None:
    x, cos_sin = inputs(n), tables(torch.arange(CACHED, CACHED + n))
    vnni, amx = cache(), cache()
    expected = native(NativeLayers(weights, SHAPE, isa=AVX512_VNNI))(x, cos_sin, *vnni, CACHED, None)
    assert torch.equal(native(NativeLayers(weights, SHAPE, isa=AMX_EMULATED))(x, cos_sin, *amx, CACHED, None), expected)
    assert torch.equal(amx[0], vnni[0])
    assert torch.equal(amx[1], vnni[1])


def test_a_fault_in_a_weight_is_seen_by_amx() -> None:
    n = 33
    x, cos_sin = inputs(n), tables(torch.arange(CACHED, CACHED + n))
    expected = native(NativeLayers(WEIGHTS, SHAPE, isa=AVX512_VNNI))(x, cos_sin, *cache(), CACHED, None)
    part = WEIGHTS[1].down.parts[0]
    packed = part.packed.clone()
    packed[2, 1, 40] ^= 1  # a code of one output
    wrong = [WEIGHTS[0], replace(WEIGHTS[1], down=GroupedStack((replace(part, packed=packed),)))]
    y = native(NativeLayers(wrong, SHAPE, isa=AMX_EMULATED))(x, cos_sin, *cache(), CACHED, None)
    assert len((y != expected).any(dim=0).nonzero()) == 1


@pytest.mark.parametrize("isa", [0, AVX2, AMX_EMULATED + 1])
def test_instructions_it_is_not_compiled_for_raise(isa: int) -> None:
    with pytest.raises(ValueError, match="instructions"):
        native(NativeLayers(WEIGHTS, SHAPE, isa=isa))(inputs(2), tables(torch.arange(2)), *cache(), 0, None)


def test_it_computes_with_what_it_is_told() -> None:
    """Equal bits do not show which products ran; that AMX is refused on a CPU without it does."""
    found = library()
    assert found is not None
    if found.holefill_isa() >= AMX:
        pytest.skip("this CPU has AMX")
    with pytest.raises(ValueError, match="instructions"):
        native(NativeLayers(WEIGHTS, SHAPE, isa=AMX))(inputs(2), tables(torch.arange(2)), *cache(), 0, None)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 17, 40])
def test_a_stop_ends_it_in_the_layer_that_runs(n: int, threads: int, restore_threads: None) -> None:
    """The flag lies where the first layer writes a key, so that the first layer itself gives the order to stop."""
    torch.set_num_threads(threads)
    layers, x, cos_sin = NativeLayers(WEIGHTS, SHAPE), inputs(n), tables(torch.arange(CACHED, CACHED + n))
    rows, (keys, values) = torch.arange(CACHED + n, dtype=torch.int32), cache()
    keys[0, 0, CACHED, 0] = 0.0
    stop = ctypes.c_int32.from_address(keys[0, 0, CACHED].data_ptr())
    before = keys.clone()
    assert not layers(x.clone(), cos_sin, keys, values, rows, None, stop)
    assert not torch.equal(keys[0], before[0])
    assert torch.equal(keys[1], before[1]), "the second layer never began"
    again = cache()
    expected = native(layers)(x, cos_sin, *again, CACHED, None)
    assert layers(out := x.clone(), cos_sin, keys, values, rows, None)
    assert torch.equal(out, expected)
    assert torch.equal(keys, again[0])
    assert torch.equal(values, again[1])


def test_a_stop_given_before_writes_nothing_and_none_changes_nothing() -> None:
    layers, x, cos_sin = NativeLayers(WEIGHTS, SHAPE), inputs(5), tables(torch.arange(CACHED, CACHED + 5))
    rows, (keys, values) = torch.arange(CACHED + 5, dtype=torch.int32), cache()
    before = keys.clone(), values.clone()
    assert not layers(x.clone(), cos_sin, keys, values, rows, None, ctypes.c_int32(1))
    assert torch.equal(keys, before[0])
    assert torch.equal(values, before[1])
    assert layers(out := x.clone(), cos_sin, keys, values, rows, None, ctypes.c_int32(0))
    assert torch.equal(out, native(layers)(x, cos_sin, *cache(), CACHED, None))


def test_wrong_input_raises() -> None:
    layers, (keys, values) = NativeLayers(WEIGHTS, SHAPE), cache()
    x, cos_sin, rows = inputs(2), tables(torch.arange(2)), torch.arange(2, dtype=torch.int32)
    with pytest.raises(ValueError, match="x must be"):
        layers(x[:, 1:], cos_sin, keys, values, rows, None)
    with pytest.raises(ValueError, match="keys must be"):
        layers(x, cos_sin, keys[:1], values, rows, None)
    for other in (keys.bfloat16(), keys.half()):
        with pytest.raises(ValueError, match="both be float16 or float32"):
            layers(x, cos_sin, other, values, rows, None)
    with pytest.raises(ValueError, match="cos and sin"):
        layers(x, tables(torch.arange(3)), keys, values, rows, None)
    with pytest.raises(ValueError, match="do not fit a pool"):
        layers(x, cos_sin, keys, values, rows + keys.shape[2] - 1, None)
    with pytest.raises(ValueError, match="too few"):
        layers(x, cos_sin, keys, values, rows[:1], None)
    with pytest.raises(ValueError, match="int32"):
        layers(x, cos_sin, keys, values, rows.long(), None)
    with pytest.raises(ValueError, match="hidden must be"):
        layers(x, cos_sin, keys, values, rows, TREE)
    for wanted in (3, -1):
        with pytest.raises(ValueError, match="wanted must be"):
            layers(x, cos_sin, keys, values, rows, None, wanted=wanted)
    with pytest.raises(ValueError, match="matrices"):
        NativeLayers([replace(WEIGHTS[0], o=WEIGHTS[0].down)], SHAPE)
    swapped = LowRank(low_rank(WEIGHTS[0].o, torch.Generator()).b, low_rank(WEIGHTS[0].o, torch.Generator()).a)
    with pytest.raises(ValueError, match="an addition"):
        NativeLayers(WEIGHTS, SHAPE).adapted([(None, swapped, None, None), WEIGHTS[1].additions])
    with pytest.raises(ValueError, match="norm must be"):
        NativeLayers([replace(WEIGHTS[0], attn_norm=torch.ones(HIDDEN + 1))], SHAPE)
