// Group-quantised products, as the fused layers use them: quantise rows, then run tiles of 16 outputs.
#pragma once

#include <array>
#include <cstdint>

// Each has all of the one before. Emulated: the AMX kernels over plain memory, for tests.
enum Isa : int { kUnsupported = 0, kAvx2 = 1, kAvx512Vnni = 2, kAmx = 3, kAmxEmulated = 4 };

constexpr int kTile = 16;
constexpr int kBlockRows = 16;

// One matrix in the layout of kernels/grouped_linear.py.
struct Matrix {
  const uint8_t* packed;  // [tiles][groups][group bytes]
  int64_t out;
  int64_t bits, group, affine;

  int64_t tiles() const { return (out + kTile - 1) / kTile; }
};

// Rounded rows. They lie in blocks of up to 16 rows, the rows of a block interleaved: codes [in / 4][rows][4] (for AMX
// [in / group][rows][group]), the rest [in / group][rows]. A row is scale · high, or with `low` scale · (256 · high + low): 16 bits, for one row at a time.
struct Activations {
  int8_t* high;   // [n · in]
  int8_t* low;    // [n · in], null for 8 bits
  int32_t* sums;  // [n · in / group] of a group's codes: times −offset, or for affine formats the bits of float sum · scale
  float* scales;  // [n · in / group]
};

// y[row][o] = bias + Σ w x, or y + that where `add`. `y` points at the first output of the matrix.
struct Product {
  Matrix matrix;
  Activations x;
  const float* bias;  // [out] or null
  float* y;
  int64_t n, in, y_stride;
  bool add;
};

// Tiles [from, to) of a product.
using RunTiles = void (*)(const Product& product, int64_t from, int64_t to);

// One entry a weight format, in the order of `format_of`.
constexpr int kFormats = 4, kNoFormat = -1;
using Products = std::array<RunTiles, kFormats>;

// Kernel<BITS, GROUP, AFFINE>::run of every format there is.
template <template <int, int, bool> class Kernel>
constexpr Products products_of() {
  return {Kernel<4, 32, true>::run, Kernel<5, 32, false>::run, Kernel<6, 16, false>::run, Kernel<8, 32, false>::run};
}

// Its place in `Products`, or kNoFormat.
int format_of(const Matrix& matrix);

inline bool has_format(const Matrix& matrix) { return format_of(matrix) != kNoFormat; }

bool runs_here(Isa isa);

// Row `row` of n, inputs [from, to): multiples of the group. `x` is that row.
void quantize(const float* x, int64_t n, int64_t in, int64_t row, int64_t from, int64_t to, const Matrix& matrix,
              const Activations& out, Isa isa);

// How many neighbouring tiles make one task: a matrix's tiles fall into tasks that share their rows' time in L1.
int64_t task_tiles(const Product& product, int threads);

// Tiles [from, to).
void run_tiles(const Product& product, int64_t from, int64_t to, Isa isa);
