// One source for two translation units: amx.cpp gives `Tiles` the instructions, amx_emulated.cpp plain memory.
//
// A group of up to 16 rounded rows (rows × GROUP bytes) is the first operand of one tdpbsud, a group of a weight tile,
// as bytes, the second (GROUP/4 rows of 64). The int32 sums of a group are exact, so scaling them in the order of the
// VNNI kernels gives their bits. Codes of fewer than 8 bits are decoded once per weight tile, for all rows.
#pragma once

#include <algorithm>
#include <vector>

#include "amx.h"
#include "grouped_format.h"

namespace {

template <int BITS, int GROUP, bool AFFINE>
AVX512_VNNI void decode_tile(const uint8_t* group, int64_t groups, uint8_t* bytes) {
  using F = Format<BITS, GROUP, AFFINE>;
  for (int64_t g = 0; g < groups; ++g, group += F::group_bytes, bytes += F::quads * 64) {
    const uint8_t* low = group + F::header;
    for (int j = 0; j < F::quads; ++j)
      _mm512_storeu_si512(bytes + j * 64, quad_codes<BITS, GROUP, AFFINE>(low, low + F::low_bytes, j));
  }
}

// Rows [row, row + rows) of one weight tile, whose codes are at `codes`, `step` bytes a group.
template <class Tiles, int BITS, int GROUP, bool AFFINE>
AMX void block_amx(const Product& p, Tiles& tiles, int64_t tile, int64_t row, int rows, const uint8_t* codes,
                   int64_t step) {
  using F = Format<BITS, GROUP, AFFINE>;
  const int64_t groups = p.in / GROUP;
  const uint8_t* group = p.matrix.packed + tile * groups * F::group_bytes;
  const int8_t* x = p.x.high + row * p.in;
  const int32_t* x_sums = p.x.sums + row * groups;
  const float* x_scales = p.x.scales + row * groups;
  alignas(64) int32_t sums[kBlockRows * kTile];
  alignas(64) float totals[kBlockRows * kTile] = {};
  for (int64_t g = 0; g < groups; ++g) {
    tiles.multiply(x, GROUP, codes, sums);
    const __m512 scales = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(group)));
    __m512 mins = _mm512_setzero_ps();
    if constexpr (AFFINE) mins = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(group + 32)));
    for (int r = 0; r < rows; ++r) {
      __m512i sum = _mm512_load_si512(sums + r * kTile);
      if constexpr (!AFFINE) sum = _mm512_add_epi32(sum, _mm512_set1_epi32(x_sums[r]));
      __m512 total = _mm512_load_ps(totals + r * kTile);
      total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scales, _mm512_set1_ps(x_scales[r])), total);
      if constexpr (AFFINE) total = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32(x_sums[r])), mins, total);
      _mm512_store_ps(totals + r * kTile, total);
    }
    group += F::group_bytes;
    codes += step;
    x += GROUP * rows;
    x_sums += rows;
    x_scales += rows;
  }
  const int64_t first = tile * kTile;
  const auto lanes = static_cast<__mmask16>((1u << std::min<int64_t>(kTile, p.matrix.out - first)) - 1);
  const __m512 bias = p.bias ? _mm512_maskz_loadu_ps(lanes, p.bias + first) : _mm512_setzero_ps();
  for (int r = 0; r < rows; ++r) {
    float* y = p.y + (row + r) * p.y_stride + first;
    __m512 result = _mm512_add_ps(_mm512_load_ps(totals + r * kTile), bias);
    if (p.add) result = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), result);
    _mm512_mask_storeu_ps(y, lanes, result);
  }
}

// Tiles [from, to) for rows [row, end), in blocks of `rows`: the tile registers are set up once.
template <class Tiles, int BITS, int GROUP, bool AFFINE>
void blocks_amx(const Product& p, int64_t from, int64_t to, int64_t row, int64_t end, int rows, uint8_t* bytes) {
  using F = Format<BITS, GROUP, AFFINE>;
  constexpr int64_t step = BITS < 8 ? F::quads * 64 : F::group_bytes;
  const int64_t groups = p.in / GROUP;
  Tiles tiles(rows, GROUP);
  for (int64_t tile = from; tile < to; ++tile) {
    const uint8_t* packed = p.matrix.packed + tile * groups * F::group_bytes;
    if (BITS < 8) decode_tile<BITS, GROUP, AFFINE>(packed, groups, bytes);
    const uint8_t* codes = BITS < 8 ? bytes : packed + F::header;
    for (int64_t block = row; block < end; block += rows)
      block_amx<Tiles, BITS, GROUP, AFFINE>(p, tiles, tile, block, rows, codes, step);
  }
}

template <class Tiles, int BITS, int GROUP, bool AFFINE>
void tiles_amx(const Product& p, int64_t from, int64_t to) {
  std::vector<uint8_t> bytes(static_cast<std::size_t>(BITS == 8 ? 0 : p.in * kTile));
  const int64_t left = p.n % kBlockRows, whole = p.n - left;
  if (whole) blocks_amx<Tiles, BITS, GROUP, AFFINE>(p, from, to, 0, whole, kBlockRows, bytes.data());
  if (left) blocks_amx<Tiles, BITS, GROUP, AFFINE>(p, from, to, whole, p.n, static_cast<int>(left), bytes.data());
}

// A class template over class templates is what binds `Tiles`.
template <class Tiles>
struct AmxIn {
  template <int BITS, int GROUP, bool AFFINE>
  struct Kernel {
    static void run(const Product& p, int64_t from, int64_t to) { tiles_amx<Tiles, BITS, GROUP, AFFINE>(p, from, to); }
  };
};

template <class Tiles>
constexpr Products amx_products() {
  return table_of<AmxIn<Tiles>::template Kernel>();
}

}  // namespace
