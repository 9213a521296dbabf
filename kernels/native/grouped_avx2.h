// The same sums without AVX512: every x86 machine since 2013 gets the same bits from the same weights, more slowly.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "grouped_format.h"
#include "grouped_linear.h"

// 32 codes of quad j: outputs 8 · side … 8 · side + 7.
template <int BITS, int GROUP, bool AFFINE>
AVX2 inline __m256i half_quad(const uint8_t* low, const uint8_t* planes, int j, int side) {
  using F = Format<BITS, GROUP, AFFINE>;
  if constexpr (BITS == 8) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low + j * 64 + side * 32));
  } else {
    constexpr int half = F::quads / 2;
    __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low + (j % half) * 64 + side * 32));
    if (j >= half) codes = _mm256_srli_epi16(codes, 4);
    codes = _mm256_and_si256(codes, _mm256_set1_epi8(15));
    const __m256i spread = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    for (int plane = 0; plane < F::planes; ++plane) {
      int32_t mask;
      std::memcpy(&mask, planes + plane * F::plane_bytes + j * 8 + side * 4, 4);
      const __m256i bits = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(mask), spread), bit);
      const __m256i set = _mm256_cmpeq_epi8(bits, bit);
      codes = _mm256_or_si256(codes, _mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(16 << plane))));
    }
    return codes;
  }
}

// In pairs of 16 bits, which never saturate: bytes 0 and 2 of a quad, then 1 and 3. `low` as in `Activations`.
template <int BITS, int GROUP, bool AFFINE>
AVX2 void tile_row_avx2(const Product& p, int64_t tile, int64_t row) {
  using F = Format<BITS, GROUP, AFFINE>;
  const int64_t groups = p.in / GROUP;
  const int64_t block = row / kBlockRows * kBlockRows, rows = std::min<int64_t>(kBlockRows, p.n - block);
  const int64_t lane = row - block;
  const uint8_t* group = p.matrix.packed + tile * groups * F::group_bytes;
  const __m256i byte = _mm256_set1_epi16(255);
  __m256 total[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t g = 0; g < groups; ++g, group += F::group_bytes) {
    const int64_t at = block * p.in + (g * F::quads * rows + lane) * 4, slot = block * groups + g * rows + lane;
    const uint8_t* low = group + F::header;
    const uint8_t* planes = low + F::low_bytes;
    const __m256i start = AFFINE ? _mm256_setzero_si256() : _mm256_set1_epi32(p.x.sums[slot]);
    __m256i sums[2] = {start, start};
    for (int j = 0; j < F::quads; ++j) {
      int32_t x[4];
      for (int k = 0; k < 4; ++k) {
        x[k] = p.x.high[at + j * rows * 4 + k];
        if (p.x.low) x[k] = x[k] * 256 + p.x.low[at + j * rows * 4 + k];
      }
      const __m256i even = _mm256_set1_epi32(static_cast<int32_t>((x[0] & 0xffff) | static_cast<uint32_t>(x[2]) << 16));
      const __m256i odd = _mm256_set1_epi32(static_cast<int32_t>((x[1] & 0xffff) | static_cast<uint32_t>(x[3]) << 16));
      for (int side = 0; side < 2; ++side) {
        const __m256i codes = half_quad<BITS, GROUP, AFFINE>(low, planes, j, side);
        sums[side] = _mm256_add_epi32(sums[side], _mm256_madd_epi16(_mm256_and_si256(codes, byte), even));
        sums[side] = _mm256_add_epi32(sums[side], _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), odd));
      }
    }
    const auto* halves = reinterpret_cast<const __m128i*>(group);
    for (int side = 0; side < 2; ++side) {
      const __m256 scales = _mm256_cvtph_ps(_mm_loadu_si128(halves + side));
      const __m256 step = _mm256_mul_ps(scales, _mm256_set1_ps(p.x.scales[slot]));
      total[side] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[side]), step, total[side]);
      if constexpr (AFFINE) {
        const __m256 mean = _mm256_castsi256_ps(_mm256_set1_epi32(p.x.sums[slot]));
        total[side] = _mm256_fmadd_ps(mean, _mm256_cvtph_ps(_mm_loadu_si128(halves + 2 + side)), total[side]);
      }
    }
  }
  alignas(32) float results[kTile];
  for (int side = 0; side < 2; ++side) _mm256_store_ps(results + 8 * side, total[side]);
  const int64_t first = tile * kTile;
  for (int64_t i = 0; i < std::min<int64_t>(kTile, p.matrix.out - first); ++i) {
    float& y = p.y[row * p.y_stride + first + i];
    const float result = results[i] + (p.bias ? p.bias[first + i] : 0.0f);
    y = p.add ? y + result : result;
  }
}

template <int BITS, int GROUP, bool AFFINE>
struct TilesAvx2 {
  static void run(const Product& p, int64_t from, int64_t to) {
    for (int64_t tile = from; tile < to; ++tile)
      for (int64_t row = 0; row < p.n; ++row) tile_row_avx2<BITS, GROUP, AFFINE>(p, tile, row);
  }
};
