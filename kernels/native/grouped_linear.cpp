// y = x Wᵀ for group-quantised weights, 4 to 8 bits a weight, int8 activations with one scale per group of a row.
//
// Layout of a weight: grouped_format.h. More than 16 rows take a task's tiles block by block: the rounded rows of a block
// lie in L1 meanwhile, and the tiles in L2.
//
// A row's result does not depend on the number of rows: every row runs the same operations in the same order.

#include "grouped_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "amx.h"
#include "grouped_avx2.h"
#include "grouped_avx512.h"
#include "grouped_format.h"
#include "simd.h"

namespace {

constexpr int64_t kTopTiles = 32;
constexpr int64_t kTaskBytes = 256 * 1024;  // of weights, a quarter of an L2

// What an instruction set computes with.
struct Instructions {
  const Products *few, *many;  // rows: fewer than kLeastAmxRows, and from there on
  const Products* wide;        // one row of 16 bits
};

constexpr Products kAvx2Products = table_of<TilesAvx2>(), kVnniProducts = table_of<TilesAvx512>(),
                   kWideProducts = table_of<WideTilesAvx512>();

// By `Isa`.
constexpr Instructions kInstructions[] = {
    {},
    {&kAvx2Products, &kAvx2Products, &kAvx2Products},
    {&kVnniProducts, &kVnniProducts, &kWideProducts},
    {&kVnniProducts, &kAmxProducts, &kWideProducts},
    {&kVnniProducts, &kAmxEmulatedProducts, &kWideProducts},
};

// What rounding to 8 bits leaves over, in 1/256 of a step.
inline int32_t low_code(float scaled, int32_t high) {
  const float rest = std::nearbyintf((scaled - static_cast<float>(high)) * 256.0f);
  return static_cast<int32_t>(std::min(127.0f, std::max(-128.0f, rest)));
}

struct Group {
  int8_t* high;  // of the first quad; the next one is `stride` bytes on
  int8_t* low;
  int64_t stride;
  int32_t sum;  // of all codes, 16-bit ones with `low`
};

void round_group(const float* x, int size, float inverse, Group& out) {
  for (int i = 0; i < size; ++i) {
    const float scaled = x[i] * inverse;
    const auto code = static_cast<int32_t>(std::nearbyintf(scaled));
    const int64_t at = i / 4 * out.stride + i % 4;
    out.high[at] = static_cast<int8_t>(code);
    out.sum += code * (out.low ? 256 : 1);
    if (out.low) {
      const int32_t rest = low_code(scaled, code);
      out.low[at] = static_cast<int8_t>(rest);
      out.sum += rest;
    }
  }
}

AVX512_VNNI inline void store_quads(__m512i codes, int8_t* out, int64_t stride) {
  const __m128i quads = _mm512_cvtepi32_epi8(codes);
  const int32_t each[4] = {_mm_cvtsi128_si32(quads), _mm_extract_epi32(quads, 1), _mm_extract_epi32(quads, 2),
                           _mm_extract_epi32(quads, 3)};
  for (int j = 0; j < 4; ++j) std::memcpy(out + j * stride, &each[j], 4);
}

// To 16 bits.
AVX512_VNNI void round_group_avx512(const float* x, int size, float inverse, Group& out) {
  __m512i sums = _mm512_setzero_si512();
  for (int i = 0; i < size; i += 16) {
    const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(inverse));
    const __m512i codes = _mm512_cvtps_epi32(scaled);
    store_quads(codes, out.high + i / 4 * out.stride, out.stride);
    const __m512 rest = _mm512_mul_ps(_mm512_sub_ps(scaled, _mm512_cvtepi32_ps(codes)), _mm512_set1_ps(256.0f));
    const __m512i low = _mm512_min_epi32(_mm512_cvtps_epi32(rest), _mm512_set1_epi32(127));
    store_quads(low, out.low + i / 4 * out.stride, out.stride);
    sums = _mm512_add_epi32(sums, _mm512_add_epi32(_mm512_slli_epi32(codes, 8), low));
  }
  out.sum = _mm512_reduce_add_epi32(sums);
}

AVX512_VNNI float peak_avx512(const float* x, int size) {
  __m512 peak = _mm512_setzero_ps();
  for (int i = 0; i < size; i += 16) peak = _mm512_max_ps(peak, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
  return _mm512_reduce_max_ps(peak);
}

float peak_of(const float* x, int size) {
  float peak = 0;
  for (int i = 0; i < size; ++i) peak = std::max(peak, std::fabs(x[i]));
  return peak;
}

// Where the groups of a row go, one after the other.
struct Places {
  int8_t* codes;
  int32_t* sums;
  float* scales;
  int64_t rows, stride;  // of the block; from quad to quad
};

// `quantize` to 8 bits, of `count` inputs.
template <int GROUP>
AVX512_VNNI void quantize_avx512(const float* x, int64_t count, const Matrix& matrix, Places to) {
  const int32_t offset = -(1 << (matrix.bits - 1));
  for (int64_t at = 0; at < count; at += GROUP) {
    const __m512 first = _mm512_loadu_ps(x + at), second = GROUP == 32 ? _mm512_loadu_ps(x + at + 16) : first;
    const float peak = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second)));
    const __m512 inverse = _mm512_set1_ps(peak > 0 ? 127.0f / peak : 0.0f);
    const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(first, inverse));
    const __m512i high = GROUP == 32 ? _mm512_cvtps_epi32(_mm512_mul_ps(second, inverse)) : _mm512_setzero_si512();
    store_quads(low, to.codes, to.stride);
    if (GROUP == 32) store_quads(high, to.codes + 4 * to.stride, to.stride);
    const int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
    const float scale = peak / 127.0f, mean = static_cast<float>(sum) * scale;
    *to.scales = scale;
    if (matrix.affine) std::memcpy(to.sums, &mean, 4);
    else *to.sums = sum * offset;
    to.codes += to.rows * GROUP;
    to.sums += to.rows;
    to.scales += to.rows;
  }
}

AVX512_VNNI float tile_peak_avx512(const float* y) { return _mm512_reduce_max_ps(_mm512_loadu_ps(y)); }

// The `kTopTiles` tiles of a row of y with the largest outputs, or all of them; their number.
int64_t top_tiles(const float* y, int64_t out, Isa isa, int64_t* tiles) {
  float peaks[kTopTiles];
  int64_t count = 0;
  for (int64_t first = 0; first < out; first += kTile) {
    float peak = y[first];
    if (isa >= kAvx512Vnni && first + kTile <= out) {
      peak = tile_peak_avx512(y + first);
    } else {
      for (int64_t i = first; i < std::min(out, first + kTile); ++i) peak = std::max(peak, y[i]);
    }
    if (count == kTopTiles && !(peak > peaks[count - 1])) continue;
    int64_t at = count < kTopTiles ? count++ : count - 1;
    for (; at > 0 && peak > peaks[at - 1]; --at) peaks[at] = peaks[at - 1], tiles[at] = tiles[at - 1];
    peaks[at] = peak;
    tiles[at] = first / kTile;
  }
  return count;
}

// w[i] of one output, in fp32: an embedding lookup touches only the tiles of its ids.
template <int BITS, int GROUP, bool AFFINE>
struct DequantizedRow {
  __attribute__((target("f16c"))) static void run(const uint8_t* weight, int64_t in, int64_t row, float* out);
};

template <int BITS, int GROUP, bool AFFINE>
void DequantizedRow<BITS, GROUP, AFFINE>::run(const uint8_t* weight, int64_t in, int64_t row, float* out) {
  using F = Format<BITS, GROUP, AFFINE>;
  constexpr int half = F::quads / 2;
  const int lane = static_cast<int>(row % kTile);
  const uint8_t* group = weight + row / kTile * (in / GROUP) * F::group_bytes;
  for (int64_t g = 0; g < in / GROUP; ++g, group += F::group_bytes, out += GROUP) {
    uint16_t halves[2] = {};
    std::memcpy(&halves[0], group + lane * 2, 2);
    if (AFFINE) std::memcpy(&halves[1], group + kTile * 2 + lane * 2, 2);
    const float scale = _cvtsh_ss(halves[0]);
    const float least = AFFINE ? _cvtsh_ss(halves[1]) : -static_cast<float>(F::offset) * scale;
    const uint8_t* low = group + F::header;
    const uint8_t* planes = low + F::low_bytes;
    for (int i = 0; i < GROUP; ++i) {
      const int j = i / 4, byte = lane * 4 + i % 4;
      int code = BITS == 8 ? low[j * 64 + byte] : (low[(j % half) * 64 + byte] >> (j >= half ? 4 : 0)) & 15;
      for (int plane = 0; plane < F::planes; ++plane)
        code += ((planes[plane * F::plane_bytes + j * 8 + byte / 8] >> (byte % 8)) & 1) << (4 + plane);
      out[i] = static_cast<float>(code) * scale + least;
    }
  }
}

Isa detect() {
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    return amx_permitted() ? kAmx : kAvx512Vnni;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kAvx2;
  return kUnsupported;
}

}  // namespace

bool runs_here(Isa isa) {
  static const Isa best = detect();
  return isa == kAmxEmulated ? best >= kAvx512Vnni : isa > kUnsupported && isa <= best;
}

int form_of(int64_t bits, int64_t group, bool affine) {
  for (int i = 0; i < kFormCount; ++i)
    if (kForms[i].bits == bits && kForms[i].group == group && kForms[i].affine == affine) return i;
  return kNoForm;
}

// One scale per group: its largest magnitude becomes 127. Per group and not per row, because a few activations of this
// model family are 100 times the others.
void quantize(const float* x, int64_t n, int64_t in, int64_t row, int64_t from, int64_t to, const Matrix& matrix,
              const Activations& out, Isa isa) {
  const bool amx = by_amx(isa, n);
  const int64_t block = row / kBlockRows * kBlockRows, rows = std::min<int64_t>(kBlockRows, n - block), lane = row - block;
  const int size = static_cast<int>(matrix.group);
  if (isa >= kAvx512Vnni && !out.low) {
    const int64_t codes = block * in + from * rows + lane * (amx ? size : 4), slot = (block * in + from * rows) / size + lane;
    const Places places{out.high + codes, out.sums + slot, out.scales + slot, rows, amx ? 4 : rows * 4};
    return (size == 16 ? quantize_avx512<16> : quantize_avx512<32>)(x + from, to - from, matrix, places);
  }
  for (int64_t at = from; at < to; at += size) {
    const int64_t codes = block * in + at * rows + lane * (amx ? size : 4), slot = (block * in + at * rows) / size + lane;
    const float peak = isa >= kAvx512Vnni ? peak_avx512(x + at, size) : peak_of(x + at, size);
    const float inverse = peak > 0 ? 127.0f / peak : 0.0f;
    const float scale = peak / (out.low ? 127.0f * 256.0f : 127.0f);
    Group group{out.high + codes, out.low ? out.low + codes : nullptr, amx ? 4 : rows * 4, 0};
    (isa >= kAvx512Vnni ? round_group_avx512 : round_group)(x + at, size, inverse, group);
    out.scales[slot] = scale;
    if (matrix.affine) {
      const float mean = static_cast<float>(group.sum) * scale;
      std::memcpy(&out.sums[slot], &mean, 4);
    } else {
      out.sums[slot] = group.sum * -(1 << (matrix.bits - 1));
    }
  }
}

int64_t task_tiles(const Product& p, int threads) {
  if (p.n <= kBlockRows) return 1;
  const int64_t tiles = p.matrix.tiles(), bytes = kTile * p.in * p.matrix.bits / 8;
  const int64_t tasks = (tiles * bytes / kTaskBytes / threads + 1) * threads;  // as many for each thread
  return (tiles + tasks - 1) / tasks;
}

void run_tiles(const Product& p, int64_t from, int64_t to, Isa isa) {
  const Instructions& with = kInstructions[isa];
  const Products& products = *(p.x.low ? with.wide : p.n < kLeastAmxRows ? with.few : with.many);
  products[static_cast<std::size_t>(form_of(p.matrix))](p, from, to);
}

extern "C" {

int holefill_isa() { return detect(); }

// x [n, in] → y [n, y_stride], out of them written. codes [n, in], sums and scales [n, in / group] are the caller's
// scratch. 0 on success.
int holefill_grouped_linear(const float* x, int64_t n, int64_t in, const uint8_t* weight, int64_t out, const float* bias,
                            int bits, int group, int affine, int8_t* codes, int32_t* sums, float* scales, float* y,
                            int64_t y_stride, int isa, int threads) {
  const Product p{{weight, out, bits, group, affine}, {codes, nullptr, sums, scales}, bias, y, n, in, y_stride, false};
  const Isa chosen = static_cast<Isa>(isa);
  if (!has_format(p.matrix) || !runs_here(chosen)) return 1;
  const int64_t tiles = p.matrix.tiles(), step = task_tiles(p, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for schedule(static)
    for (int64_t row = 0; row < n; ++row) quantize(x + row * in, n, in, row, 0, in, p.matrix, p.x, chosen);
#pragma omp for schedule(static)
    for (int64_t tile = 0; tile < tiles; tile += step) run_tiles(p, tile, std::min(tiles, tile + step), chosen);
  }
  return 0;
}

// Computes the 32 tiles of each row of y that hold its largest values again, with activations of 16 bits. Scratch as above,
// high and low [n, in].
int holefill_refine_top(const float* x, int64_t n, int64_t in, const uint8_t* weight, int64_t out, const float* bias,
                        int bits, int group, int affine, int8_t* high, int8_t* low, int32_t* sums, float* scales, float* y,
                        int64_t y_stride, int isa, int threads) {
  const Matrix matrix{weight, out, bits, group, affine};
  const Isa chosen = static_cast<Isa>(isa);
  if (!has_format(matrix) || !runs_here(chosen)) return 1;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && n > 1)
  for (int64_t row = 0; row < n; ++row) {
    const int64_t codes = row * in, slot = row * (in / group);
    const Activations own{high + codes, low + codes, sums + slot, scales + slot};
    const Product p{matrix, own, bias, y + row * y_stride, 1, in, y_stride, false};
    quantize(x + row * in, 1, in, 0, 0, in, matrix, own, chosen);
    int64_t tiles[kTopTiles];
    const int64_t count = top_tiles(p.y, out, chosen, tiles);
    for (int64_t i = 0; i < count; ++i) run_tiles(p, tiles[i], tiles[i] + 1, chosen);
  }
  return 0;
}

// 8-bit codes in groups of 32 → their upper 5 bits, rounded. `count` groups; the scales of `coarse` are the caller's.
void holefill_coarse(const uint8_t* packed, int64_t count, uint8_t* coarse) {
  using From = Format<8, 32, false>;
  using To = Format<5, 32, false>;
  constexpr int half = To::quads / 2;
  for (int64_t g = 0; g < count; ++g, packed += From::group_bytes, coarse += To::group_bytes) {
    const uint8_t* codes = packed + From::header;
    uint8_t* low = coarse + To::header;
    for (int j = 0; j < half * 64; j += 16) {  // SSE2: every x86-64 has it
      uint16_t bits[2];
      __m128i nibbles[2];
      for (int side = 0; side < 2; ++side) {
        const auto* from = reinterpret_cast<const __m128i*>(codes + side * half * 64 + j);
        const __m128i rounded = _mm_adds_epu8(_mm_loadu_si128(from), _mm_set1_epi8(4));
        nibbles[side] = _mm_and_si128(_mm_srli_epi16(rounded, 3), _mm_set1_epi8(15));
        bits[side] = static_cast<uint16_t>(_mm_movemask_epi8(rounded));
        std::memcpy(low + To::low_bytes + (side * half * 64 + j) / 8, &bits[side], 2);
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(low + j), _mm_or_si128(nibbles[0], _mm_slli_epi16(nibbles[1], 4)));
    }
  }
}

// ids [n] → rows [n, in] in fp32. 0 on success.
int holefill_grouped_rows(const int64_t* ids, int64_t n, int64_t in, const uint8_t* weight, int bits, int group,
                          int affine, float* rows) {
  static constexpr auto kRow = table_of<DequantizedRow>();
  const int form = form_of(bits, group, affine != 0);
  if (form == kNoForm) return 1;
  for (int64_t i = 0; i < n; ++i) kRow[static_cast<std::size_t>(form)](weight, in, ids[i], rows + i * in);
  return 0;
}

}  // extern "C"
