// y = x Wᵀ for group-quantised weights, 4 to 8 bits a weight, int8 activations with one scale per group of a row.
//
// Layout of a weight ("packed", made by kernels/grouped_linear.py): tiles of 16 outputs; in a tile, groups of GROUP
// inputs; in a group, in this order:
//   scales  16 × fp16
//   mins    16 × fp16                        (affine formats only: w = scale · code + min)
//   codes   GROUP/4 quads of 16 outputs × 4 inputs. 8 bits: 64 bytes a quad. Fewer: the low nibbles of quad j and
//           quad j + GROUP/8 share a 64-byte line, then one 64-bit mask per quad and further bit.
// A quad is the operand of one vpdpbusd: 16 outputs, 4 inputs each.
//
// A row's result does not depend on the number of rows: every row runs the same operations in the same order.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

namespace {

constexpr int kTile = 16;
constexpr int kMaxRows = 8;

struct Problem {
  // Activations lie in blocks of up to 8 rows, the rows of a block interleaved, so that the inner loop walks one pointer.
  const int8_t* x;        // codes: [blocks][in / 4][rows of the block][4]
  const int32_t* x_sums;  // of the codes of a group, times −offset: [blocks][in / group][rows of the block]
  const float* x_scales;  // like x_sums
  const uint8_t* weight;  // [tiles][groups][group bytes]
  const float* bias;      // [out] or null
  float* y;               // [n, y_stride], out of them written
  int64_t n, in, out, y_stride;
};

template <int BITS, int GROUP, bool AFFINE>
struct Format {
  static constexpr int quads = GROUP / 4;
  static constexpr int header = kTile * 2 * (AFFINE ? 2 : 1);
  static constexpr int low_bytes = BITS == 8 ? quads * 64 : quads / 2 * 64;
  static constexpr int plane_bytes = quads * 8;
  static constexpr int planes = BITS == 8 ? 0 : BITS - 4;
  static constexpr int group_bytes = header + low_bytes + planes * plane_bytes;
  // A symmetric code stands for code − offset.
  static constexpr int offset = AFFINE ? 0 : 1 << (BITS - 1);
};

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")))

template <int BITS, int GROUP, bool AFFINE>
AVX512 inline __m512i quad_codes(const uint8_t* low, const uint8_t* planes, int j) {
  using F = Format<BITS, GROUP, AFFINE>;
  if constexpr (BITS == 8) {
    return _mm512_loadu_si512(low + j * 64);
  } else {
    constexpr int half = F::quads / 2;
    __m512i codes = _mm512_loadu_si512(low + (j % half) * 64);
    if (j >= half) codes = _mm512_srli_epi16(codes, 4);
    codes = _mm512_and_si512(codes, _mm512_set1_epi8(15));
    for (int plane = 0; plane < F::planes; ++plane) {
      uint64_t bits;
      std::memcpy(&bits, planes + plane * F::plane_bytes + j * 8, 8);
      codes = _mm512_mask_add_epi8(codes, bits, codes, _mm512_set1_epi8(static_cast<char>(16 << plane)));
    }
    return codes;
  }
}

template <int BITS, int GROUP, bool AFFINE, int ROWS>
AVX512 void tile_rows_avx512(const Problem& p, int64_t tile, int64_t row) {
  using F = Format<BITS, GROUP, AFFINE>;
  const int64_t groups = p.in / GROUP;
  const uint8_t* group = p.weight + tile * groups * F::group_bytes;
  const int8_t* x = p.x + row * p.in;
  const int32_t* x_sums = p.x_sums + row * groups;
  const float* x_scales = p.x_scales + row * groups;
  __m512 total[ROWS];
  for (int r = 0; r < ROWS; ++r) total[r] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups; ++g) {
    const __m512 scales = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(group)));
    const uint8_t* low = group + F::header;
    const uint8_t* planes = low + F::low_bytes;
    __m512i sum[ROWS];
    for (int r = 0; r < ROWS; ++r) sum[r] = AFFINE ? _mm512_setzero_si512() : _mm512_set1_epi32(x_sums[r]);
#pragma GCC unroll 16
    for (int j = 0; j < F::quads; ++j) {
      const __m512i codes = quad_codes<BITS, GROUP, AFFINE>(low, planes, j);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        int32_t quad;
        std::memcpy(&quad, x + (j * ROWS + r) * 4, 4);
        sum[r] = _mm512_dpbusd_epi32(sum[r], codes, _mm512_set1_epi32(quad));
      }
    }
    for (int r = 0; r < ROWS; ++r) {
      const __m512 step = _mm512_mul_ps(scales, _mm512_set1_ps(x_scales[r]));
      total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r]), step, total[r]);
    }
    if constexpr (AFFINE) {
      const __m512 mins = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(group + 32)));
      for (int r = 0; r < ROWS; ++r) {
        const float x_sum = static_cast<float>(x_sums[r]) * x_scales[r];
        total[r] = _mm512_fmadd_ps(_mm512_set1_ps(x_sum), mins, total[r]);
      }
    }
    group += F::group_bytes;
    x += GROUP * ROWS;
    x_sums += ROWS;
    x_scales += ROWS;
  }
  const int64_t first = tile * kTile;
  const auto lanes = static_cast<__mmask16>((1u << std::min<int64_t>(kTile, p.out - first)) - 1);
  const __m512 bias = p.bias ? _mm512_maskz_loadu_ps(lanes, p.bias + first) : _mm512_setzero_ps();
  for (int r = 0; r < ROWS; ++r)
    _mm512_mask_storeu_ps(p.y + (row + r) * p.y_stride + first, lanes, _mm512_add_ps(total[r], bias));
}

// The same arithmetic without AVX512-VNNI: slower, kept so that every x86 machine gets the same format.
template <int BITS, int GROUP, bool AFFINE>
__attribute__((target("avx2,fma,f16c"))) void tile_row_avx2(const Problem& p, int64_t tile, int64_t row) {
  using F = Format<BITS, GROUP, AFFINE>;
  const int64_t groups = p.in / GROUP;
  const int64_t block = row / kMaxRows * kMaxRows, rows = std::min<int64_t>(kMaxRows, p.n - block), lane = row - block;
  const uint8_t* group = p.weight + tile * groups * F::group_bytes;
  float total[kTile] = {};
  for (int64_t g = 0; g < groups; ++g, group += F::group_bytes) {
    const int8_t* x = p.x + block * p.in + (g * F::quads * rows + lane) * 4;
    const int32_t x_sum = p.x_sums[block * groups + g * rows + lane];
    const float x_scale = p.x_scales[block * groups + g * rows + lane];
    const uint8_t* low = group + F::header;
    const uint8_t* planes = low + F::low_bytes;
    int32_t sum[kTile];
    for (int& start : sum) start = AFFINE ? 0 : x_sum;
    for (int j = 0; j < F::quads; ++j) {
      for (int i = 0; i < 64; ++i) {
        int code;
        if constexpr (BITS == 8) {
          code = low[j * 64 + i];
        } else {
          constexpr int half = F::quads / 2;
          code = (low[(j % half) * 64 + i] >> (j >= half ? 4 : 0)) & 15;
          for (int plane = 0; plane < F::planes; ++plane)
            code += ((planes[plane * F::plane_bytes + j * 8 + i / 8] >> (i % 8)) & 1) << (4 + plane);
        }
        sum[i / 4] += code * x[j * rows * 4 + i % 4];
      }
    }
    float scales[kTile], mins[kTile] = {};
    const auto* halves = reinterpret_cast<const __m128i*>(group);
    for (int h = 0; h < 2; ++h) _mm256_storeu_ps(scales + 8 * h, _mm256_cvtph_ps(_mm_loadu_si128(halves + h)));
    if constexpr (AFFINE)
      for (int h = 0; h < 2; ++h) _mm256_storeu_ps(mins + 8 * h, _mm256_cvtph_ps(_mm_loadu_si128(halves + 2 + h)));
    for (int i = 0; i < kTile; ++i) {
      total[i] = std::fma(static_cast<float>(sum[i]), scales[i] * x_scale, total[i]);
      if constexpr (AFFINE) total[i] = std::fma(static_cast<float>(x_sum) * x_scale, mins[i], total[i]);
    }
  }
  const int64_t first = tile * kTile;
  for (int64_t i = 0; i < std::min<int64_t>(kTile, p.out - first); ++i)
    p.y[row * p.y_stride + first + i] = total[i] + (p.bias ? p.bias[first + i] : 0.0f);
}

template <int BITS, int GROUP, bool AFFINE>
void tile_avx512(const Problem& p, int64_t tile) {
  int64_t row = 0;
  for (; row + kMaxRows <= p.n; row += kMaxRows) tile_rows_avx512<BITS, GROUP, AFFINE, kMaxRows>(p, tile, row);
  switch (p.n - row) {
    case 7: return tile_rows_avx512<BITS, GROUP, AFFINE, 7>(p, tile, row);
    case 6: return tile_rows_avx512<BITS, GROUP, AFFINE, 6>(p, tile, row);
    case 5: return tile_rows_avx512<BITS, GROUP, AFFINE, 5>(p, tile, row);
    case 4: return tile_rows_avx512<BITS, GROUP, AFFINE, 4>(p, tile, row);
    case 3: return tile_rows_avx512<BITS, GROUP, AFFINE, 3>(p, tile, row);
    case 2: return tile_rows_avx512<BITS, GROUP, AFFINE, 2>(p, tile, row);
    case 1: return tile_rows_avx512<BITS, GROUP, AFFINE, 1>(p, tile, row);
    default: return;
  }
}

template <int BITS, int GROUP, bool AFFINE>
void tile_avx2(const Problem& p, int64_t tile) {
  for (int64_t row = 0; row < p.n; ++row) tile_row_avx2<BITS, GROUP, AFFINE>(p, tile, row);
}

enum Isa : int { kUnsupported = 0, kAvx2 = 1, kAvx512Vnni = 2 };

template <int BITS, int GROUP, bool AFFINE>
void run(const Problem& p, Isa isa, int threads) {
  const int64_t tiles = (p.out + kTile - 1) / kTile;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t tile = 0; tile < tiles; ++tile) {
    if (isa == kAvx512Vnni) {
      tile_avx512<BITS, GROUP, AFFINE>(p, tile);
    } else {
      tile_avx2<BITS, GROUP, AFFINE>(p, tile);
    }
  }
}

// One scale per group of a row: its largest magnitude becomes 127. A sum serves the offset or the minimum of a code.
// Rounding per group and not per row: a few activations of this model family are 100 times the others. What rounding
// leaves over goes to `residual` (or nowhere when null).
void quantize_row(const float* x, int64_t n, int64_t in, int64_t row, int group, int offset, int8_t* codes, int32_t* sums,
                  float* scales, float* residual) {
  const int64_t block = row / kMaxRows * kMaxRows, rows = std::min<int64_t>(kMaxRows, n - block), lane = row - block;
  const int64_t groups = in / group;
  codes += block * in + lane * 4;
  for (int64_t g = 0; g < groups; ++g, x += group) {
    float peak = 0;
    for (int i = 0; i < group; ++i) peak = std::max(peak, std::fabs(x[i]));
    const float inverse = peak > 0 ? 127.0f / peak : 0.0f, scale = peak / 127.0f;
    int32_t sum = 0;
    for (int i = 0; i < group; i += 4, codes += rows * 4)
      for (int k = 0; k < 4; ++k) {
        codes[k] = static_cast<int8_t>(std::nearbyintf(x[i + k] * inverse));
        sum += codes[k];
        if (residual) *residual++ = x[i + k] - static_cast<float>(codes[k]) * scale;
      }
    sums[block * groups + g * rows + lane] = sum * -offset;
    scales[block * groups + g * rows + lane] = scale;
  }
}

// w[i] of one output, in fp32: an embedding lookup touches only the tiles of its ids.
template <int BITS, int GROUP, bool AFFINE>
__attribute__((target("f16c"))) void dequantize_row(const uint8_t* weight, int64_t in, int64_t row, float* out) {
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
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return kAvx512Vnni;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kAvx2;
  return kUnsupported;
}

}  // namespace

extern "C" {

int holefill_isa() { return detect(); }

// x [n, in] float; codes [r, in], sums and scales [r, in / group] are the caller's scratch, y [r, y_stride]. r is n, or 2n
// with `residuals` [n, in]: then row n + i of y is the product with what the rounding of row i left over. 0 on success.
int holefill_grouped_linear(const float* x, int64_t n, int64_t in, const uint8_t* weight, int64_t out, const float* bias,
                            int bits, int group, int affine, int8_t* codes, int32_t* sums, float* scales, float* residuals,
                            float* y, int64_t y_stride, int isa, int threads) {
  const int offset = affine ? -1 : 1 << (bits - 1);
  const int64_t rows = residuals ? 2 * n : n;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && n > 1)
  for (int64_t row = 0; row < n; ++row) {
    float* residual = residuals ? residuals + row * in : nullptr;
    quantize_row(x + row * in, rows, in, row, group, offset, codes, sums, scales, residual);
    if (residual) quantize_row(residual, rows, in, n + row, group, offset, codes, sums, scales, nullptr);
  }
  const Problem p{codes, sums, scales, weight, bias, y, rows, in, out, y_stride};
  const Isa chosen = static_cast<Isa>(isa);
  if (bits == 4 && group == 32 && affine) run<4, 32, true>(p, chosen, threads);
  else if (bits == 5 && group == 32 && !affine) run<5, 32, false>(p, chosen, threads);
  else if (bits == 6 && group == 16 && !affine) run<6, 16, false>(p, chosen, threads);
  else if (bits == 8 && group == 32 && !affine) run<8, 32, false>(p, chosen, threads);
  else return 1;
  return 0;
}

// ids [n] → rows [n, in] in fp32. 0 on success.
int holefill_grouped_rows(const int64_t* ids, int64_t n, int64_t in, const uint8_t* weight, int bits, int group,
                          int affine, float* rows) {
  for (int64_t i = 0; i < n; ++i) {
    float* out = rows + i * in;
    if (bits == 4 && group == 32 && affine) dequantize_row<4, 32, true>(weight, in, ids[i], out);
    else if (bits == 5 && group == 32 && !affine) dequantize_row<5, 32, false>(weight, in, ids[i], out);
    else if (bits == 6 && group == 16 && !affine) dequantize_row<6, 16, false>(weight, in, ids[i], out);
    else if (bits == 8 && group == 32 && !affine) dequantize_row<8, 32, false>(weight, in, ids[i], out);
    else return 1;
  }
  return 0;
}

}  // extern "C"
