// The bytes of a packed weight, and how a register of codes is made of them.
//
// Layout of a weight ("packed", made by kernels/grouped_linear.py): tiles of 16 outputs; in a tile, groups of GROUP
// inputs; in a group, in this order:
//   scales  16 × fp16
//   mins    16 × fp16                        (affine formats only: w = scale · code + min)
//   codes   GROUP/4 quads of 16 outputs × 4 inputs. 8 bits: 64 bytes a quad. Fewer: the low nibbles of quad j and
//           quad j + GROUP/8 share a 64-byte line, then one 64-bit mask per quad and further bit.
// A quad is the operand of one vpdpbusd, and a row of an AMX tile.
#pragma once

#include <cstdint>
#include <cstring>

#include "grouped_linear.h"
#include "simd.h"

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

template <int BITS, int GROUP, bool AFFINE>
AVX512_VNNI __attribute__((always_inline)) inline __m512i quad_codes(const uint8_t* low, const uint8_t* planes, int j) {
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
