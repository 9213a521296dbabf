// Group-quantised products, as the fused layers use them: quantise rows, then run tiles of 16 outputs.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

// Each has all of the one before. Emulated: the AMX kernels over plain memory, for tests.
enum Isa : int { kUnsupported = 0, kAvx2 = 1, kAvx512Vnni = 2, kAmx = 3, kAmxEmulated = 4 };

constexpr int kTile = 16;
constexpr int kBlockRows = 16;

// How weights are stored. Every kernel there is, is compiled for these, in tables of this order.
struct Form {
  int bits, group;
  bool affine;
};
constexpr Form kForms[] = {{4, 32, true}, {5, 32, false}, {6, 16, false}, {8, 32, false}};
constexpr int kFormCount = sizeof(kForms) / sizeof(Form), kNoForm = -1;

template <template <int, int, bool> class Kernel, std::size_t... I>
constexpr auto table_of(std::index_sequence<I...>) {
  return std::array{&Kernel<kForms[I].bits, kForms[I].group, kForms[I].affine>::run...};
}

// `run` of every instantiation of a kernel.
template <template <int, int, bool> class Kernel>
constexpr auto table_of() {
  return table_of<Kernel>(std::make_index_sequence<kFormCount>());
}

// One matrix in the layout of kernels/grouped_linear.py.
struct Matrix {
  const uint8_t* packed;  // [tiles][groups][group bytes]
  int64_t out;
  int64_t bits, group, affine;

  int64_t tiles() const { return (out + kTile - 1) / kTile; }
};

// Rounded rows. They lie in blocks of up to 16 rows, the rows of a block interleaved: codes [in / 4][rows][4] (for AMX
// [in / group][rows][group]), the rest [in / group][rows]. A row is scale · high, or with `low` scale · (256 · high +
// low): 16 bits, for one row at a time.
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

using Products = std::array<RunTiles, kFormCount>;

// Its place in `kForms`, or kNoForm.
int form_of(int64_t bits, int64_t group, bool affine);

inline int form_of(const Matrix& matrix) { return form_of(matrix.bits, matrix.group, matrix.affine != 0); }

inline bool has_format(const Matrix& matrix) { return form_of(matrix) != kNoForm; }

bool runs_here(Isa isa);

// Row `row` of n, inputs [from, to): multiples of the group. `x` is that row.
void quantize(const float* x, int64_t n, int64_t in, int64_t row, int64_t from, int64_t to, const Matrix& matrix,
              const Activations& out, Isa isa);

// How many neighbouring tiles make one task: a matrix's tiles fall into tasks that share their rows' time in L1.
int64_t task_tiles(const Product& product, int threads);

// Tiles [from, to).
void run_tiles(const Product& product, int64_t from, int64_t to, Isa isa);
