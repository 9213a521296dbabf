// The products with AVX512-VNNI: the quads of a group are decoded once for up to 16 rows and stay in registers.
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "grouped_format.h"
#include "grouped_linear.h"

constexpr int kChains = 4;        // rows whose sums grow side by side: one vpdpbusd waits for another's result
constexpr int64_t kAhead = 8192;  // bytes of weights between those computed and those fetched; LOG.md

struct __attribute__((packed, may_alias)) Quad {
  int8_t inputs[4];
};

// sums += codes · inputs, the four inputs taken from memory by the instruction itself: compilers load them apart, which
// costs 2 to 3 % at 16 rows.
AVX512_VNNI __attribute__((always_inline)) inline void add_product(__m512i& sums, __m512i codes, const int8_t* quad) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(codes), "m"(*reinterpret_cast<const Quad*>(quad)));
}

// sums[c] += Σ codes · inputs of row `first` + c.
template <int QUADS, int ROWS>
AVX512_VNNI __attribute__((always_inline)) inline void add_products(const __m512i* codes, const int8_t* x, int first,
                                                                    __m512i* sums) {
#pragma GCC unroll 8
  for (int j = 0; j < QUADS; ++j)
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c)
      if (first + c < ROWS) add_product(sums[c], codes[j], x + (j * ROWS + first + c) * 4);
}

// PASSES 2: activations of 16 bits. The sums of the high codes, shifted, start the sums of the low ones.
template <int BITS, int GROUP, bool AFFINE, int PASSES, int ROWS>
AVX512_VNNI void tile_rows_avx512(const Product& p, int64_t tile, int64_t row) {
  using F = Format<BITS, GROUP, AFFINE>;
  constexpr bool kFetch = BITS < 8 || ROWS > 1;  // one row over 8-bit codes is 2 to 5 % faster without
  const int64_t groups = p.in / GROUP;
  const uint8_t* group = p.matrix.packed + tile * groups * F::group_bytes;
  const int8_t* high = p.x.high + row * p.in;
  const int8_t* low_codes = PASSES == 2 ? p.x.low + row * p.in : nullptr;
  const int32_t* x_sums = p.x.sums + row * groups;
  const float* x_scales = p.x.scales + row * groups;
  __m512 total[ROWS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) total[r] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups; ++g) {
    if (kFetch && row == 0)
      for (int line = 0; line < F::group_bytes; line += 64) _mm_prefetch(group + kAhead + line, _MM_HINT_T0);
    const __m512 scales = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(group)));
    const uint8_t* low = group + F::header;
    const uint8_t* planes = low + F::low_bytes;
    __m512 mins = _mm512_setzero_ps();
    if constexpr (AFFINE) mins = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(group + 32)));
    __m512i codes[F::quads];
#pragma GCC unroll 8
    for (int j = 0; j < F::quads; ++j) codes[j] = quad_codes<BITS, GROUP, AFFINE>(low, planes, j);
#pragma GCC unroll 4
    for (int first = 0; first < ROWS; first += kChains) {
      __m512i sums[kChains];
#pragma GCC unroll 4
      for (int c = 0; c < kChains; ++c) {
        const bool starts = !AFFINE && PASSES == 1 && first + c < ROWS;
        sums[c] = starts ? _mm512_set1_epi32(x_sums[first + c]) : _mm512_setzero_si512();
      }
      add_products<F::quads, ROWS>(codes, high, first, sums);
      if constexpr (PASSES == 2) {
#pragma GCC unroll 4
        for (int c = 0; c < kChains; ++c) {
          sums[c] = _mm512_slli_epi32(sums[c], 8);
          if (!AFFINE && first + c < ROWS) sums[c] = _mm512_add_epi32(sums[c], _mm512_set1_epi32(x_sums[first + c]));
        }
        add_products<F::quads, ROWS>(codes, low_codes, first, sums);
      }
#pragma GCC unroll 4
      for (int c = 0; c < kChains; ++c) {
        const int r = first + c;
        if (r >= ROWS) continue;
        const __m512 step = _mm512_mul_ps(scales, _mm512_set1_ps(x_scales[r]));
        total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[c]), step, total[r]);
        if constexpr (AFFINE)
          total[r] = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32(x_sums[r])), mins, total[r]);
      }
    }
    group += F::group_bytes;
    high += GROUP * ROWS;
    if constexpr (PASSES == 2) low_codes += GROUP * ROWS;
    x_sums += ROWS;
    x_scales += ROWS;
  }
  const int64_t first = tile * kTile;
  const auto lanes = static_cast<__mmask16>((1u << std::min<int64_t>(kTile, p.matrix.out - first)) - 1);
  const __m512 bias = p.bias ? _mm512_maskz_loadu_ps(lanes, p.bias + first) : _mm512_setzero_ps();
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
    float* y = p.y + (row + r) * p.y_stride + first;
    __m512 result = _mm512_add_ps(total[r], bias);
    if (p.add) result = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), result);
    _mm512_mask_storeu_ps(y, lanes, result);
  }
}

using TileRows = void (*)(const Product&, int64_t tile, int64_t row);

template <int BITS, int GROUP, bool AFFINE, std::size_t... I>
constexpr std::array<TileRows, kBlockRows> by_rows(std::index_sequence<I...>) {
  return {tile_rows_avx512<BITS, GROUP, AFFINE, 1, I + 1>...};
}

template <int BITS, int GROUP, bool AFFINE>
struct TilesAvx512 {
  static void run(const Product& p, int64_t from, int64_t to) {
    static constexpr auto table = by_rows<BITS, GROUP, AFFINE>(std::make_index_sequence<kBlockRows>());
    for (int64_t row = 0; row < p.n; row += kBlockRows) {
      const TileRows rows = table[static_cast<std::size_t>(std::min<int64_t>(kBlockRows, p.n - row) - 1)];
      for (int64_t tile = from; tile < to; ++tile) rows(p, tile, row);
    }
  }
};

// One row of 16 bits.
template <int BITS, int GROUP, bool AFFINE>
struct WideTilesAvx512 {
  static void run(const Product& p, int64_t from, int64_t to) {
    for (int64_t tile = from; tile < to; ++tile) tile_rows_avx512<BITS, GROUP, AFFINE, 2, 1>(p, tile, 0);
  }
};
