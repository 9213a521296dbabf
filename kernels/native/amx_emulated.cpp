// The AMX products with plain memory for tile registers.

#include "amx.h"

#define AMX AVX512_VNNI

#include "amx_kernel.h"

namespace {

class Tiles {
 public:
  Tiles(int rows, int group) : rows_(rows), group_(group) {}

  void multiply(const int8_t* x, int stride, const uint8_t* codes, int32_t* sums) const {
    for (int r = 0; r < rows_; ++r)
      for (int output = 0; output < kTile; ++output) {
        int32_t sum = 0;
        for (int i = 0; i < group_; ++i) sum += x[r * stride + i] * codes[i / 4 * 64 + output * 4 + i % 4];
        sums[r * kTile + output] = sum;
      }
  }

 private:
  int rows_, group_;
};

}  // namespace

const Products kAmxEmulatedProducts = amx_products<Tiles>();
