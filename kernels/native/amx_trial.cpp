// Whether AMX is worth using here: it must give the bits of the VNNI kernels, and be faster. Milliseconds at load.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "amx.h"
#include "grouped_linear.h"

namespace {

enum Verdict : int { kUse = 0, kAbsent = 1, kDiffers = 2, kSlower = 3 };

constexpr int kTrials = 5;
constexpr uint16_t kHalf = 0x2c00;  // 1/16 in fp16; a tile's header differs in the bits below

// A product over arbitrary codes and rows.
class Trial {
 public:
  Trial(int64_t n, int64_t in, int64_t out, int bits, int group, int affine)
      : n_(n), in_(in), matrix_{nullptr, out, bits, group, affine}, x_(size(n * in)), bias_(size(out), 0.25f),
        y_(size(n * out)), scales_(size(n * in / group)), sums_(size(n * in / group)), codes_(size(n * in)) {
    const int64_t header = 32 * (1 + affine), quads = group / 4;
    const int64_t bytes = header + (bits == 8 ? quads * 64 : quads * 32 + (bits - 4) * quads * 8);
    packed_.resize(size(matrix_.tiles() * in / group * bytes));
    for (std::size_t i = 0; i < packed_.size(); ++i) packed_[i] = static_cast<uint8_t>(next());
    for (std::size_t at = 0; at < packed_.size(); at += size(bytes))
      for (int64_t i = 0; i < header; i += 2) {
        const auto half = static_cast<uint16_t>(kHalf | (next() & 0x83ff));
        std::memcpy(&packed_[at + size(i)], &half, 2);
      }
    for (float& value : x_) value = static_cast<float>(static_cast<int32_t>(next())) / 65536.0f;
    matrix_.packed = packed_.data();
  }

  const std::vector<float>& run(Isa isa) {
    const Activations x{codes_.data(), nullptr, sums_.data(), scales_.data()};
    const Product p{matrix_, x, bias_.data(), y_.data(), n_, in_, matrix_.out, false};
    for (int64_t row = 0; row < n_; ++row) quantize(&x_[size(row * in_)], n_, in_, row, 0, in_, matrix_, p.x, isa);
    run_tiles(p, 0, matrix_.tiles(), isa);
    return y_;
  }

 private:
  static std::size_t size(int64_t count) { return static_cast<std::size_t>(count); }

  uint32_t next() {  // Numerical Recipes' generator; its upper bits
    state_ = state_ * 1664525u + 1013904223u;
    return state_ >> 8;
  }

  int64_t n_, in_;
  Matrix matrix_;
  uint32_t state_ = 1;
  std::vector<uint8_t> packed_;
  std::vector<float> x_, bias_, y_, scales_;
  std::vector<int32_t> sums_;
  std::vector<int8_t> codes_;
};

bool same_bits(int bits, int group, int affine, Isa isa) {
  Trial trial(45, 160, 40, bits, group, affine);
  const std::vector<float> wanted = trial.run(kAvx512Vnni);
  const std::vector<float>& found = trial.run(isa);
  return std::memcmp(wanted.data(), found.data(), wanted.size() * sizeof(float)) == 0;
}

bool is_faster(Isa isa) {
  using Clock = std::chrono::steady_clock;
  Trial trial(64, 1536, 256, 4, 32, 1);
  Clock::duration best[2] = {Clock::duration::max(), Clock::duration::max()};
  for (int i = 0; i < kTrials; ++i)
    for (int which = 0; which < 2; ++which) {
      const auto start = Clock::now();
      trial.run(which ? isa : kAvx512Vnni);
      best[which] = std::min(best[which], Clock::now() - start);
    }
  return best[1] < best[0];
}

}  // namespace

extern "C" {

// A `Verdict` on kAmx or kAmxEmulated.
int holefill_amx_trial(int isa) {
  const Isa tried = static_cast<Isa>(isa);
  if (!by_amx(tried, kLeastAmxRows) || !runs_here(tried)) return kAbsent;
  const bool affine = same_bits(4, 32, 1, tried), symmetric = same_bits(5, 32, 0, tried) && same_bits(6, 16, 0, tried);
  if (!affine || !symmetric || !same_bits(8, 32, 0, tried)) return kDiffers;
  return is_faster(tried) ? kUse : kSlower;
}

}  // extern "C"
