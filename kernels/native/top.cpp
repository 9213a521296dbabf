// The 8 likeliest tokens of every row of logits and their log-probabilities, in one pass over the vocabulary.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "simd.h"

namespace {

constexpr int kTop = 8;
constexpr int kChunk = 2048;  // tokens added up in fp32 before their sum joins the others'
constexpr float kNone = -std::numeric_limits<float>::infinity();

// The largest values so far, largest first, of equal ones the first.
struct Best {
  float values[kTop];
  int32_t ids[kTop];

  void take(float value, int32_t id) {
    if (!(value > values[kTop - 1])) return;
    int at = kTop - 1;
    for (; at > 0 && value > values[at - 1]; --at) values[at] = values[at - 1], ids[at] = ids[at - 1];
    values[at] = value;
    ids[at] = id;
  }
};

// Few vectors hold one of the 8 largest, so the scan is a compare and an exponential for 16 tokens.
AVX512 void top_of_row(const float* logits, int64_t vocab, int32_t* ids, float* log_probs) {
  Best best;
  std::fill_n(best.values, kTop, kNone);
  std::fill_n(best.ids, kTop, -1);
  const __m512 none = _mm512_set1_ps(kNone);
  const __m512 zero = _mm512_setzero_ps();
  __m512 least = none, peak = none, sum = zero, total = zero;  // of exp(logit − peak): this chunk's, those before it
  for (int64_t i = 0; i < vocab; i += 16) {
    const auto inside = static_cast<__mmask16>(vocab - i >= 16 ? 0xFFFF : (1 << (vocab - i)) - 1);
    const __m512 x = _mm512_mask_loadu_ps(none, inside, logits + i);
    for (unsigned above = _mm512_cmp_ps_mask(x, least, _CMP_GT_OQ); above; above &= above - 1) {
      const int64_t at = i + __builtin_ctz(above);
      best.take(logits[at], static_cast<int32_t>(at));
      least = _mm512_set1_ps(best.values[kTop - 1]);
    }
    const __m512 higher = _mm512_set1_ps(best.values[0]);
    if (_mm512_cmp_ps_mask(higher, peak, _CMP_GT_OQ)) {
      const __m512 less = exp_nonpositive(_mm512_sub_ps(peak, higher));
      sum = _mm512_mul_ps(sum, less), total = _mm512_mul_ps(total, less);
      peak = higher;
    }
    sum = _mm512_add_ps(sum, exp_nonpositive(_mm512_sub_ps(x, peak)));
    if (i % kChunk == 0) total = _mm512_add_ps(total, sum), sum = zero;
  }
  const float normaliser = best.values[0] + std::log(_mm512_reduce_add_ps(_mm512_add_ps(total, sum)));
  for (int rank = 0; rank < kTop; ++rank) {
    ids[rank] = best.ids[rank];
    log_probs[rank] = best.ids[rank] < 0 ? kNone : best.values[rank] - normaliser;
  }
}

}  // namespace

extern "C" {

int holefill_top_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

// logits [n, vocab] → ids, log_probs [n, 8]; rows of logits are `stride` apart.
void holefill_top(const float* logits, int64_t n, int64_t vocab, int64_t stride, int32_t* ids, float* log_probs,
                  int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && n > 1)
  for (int64_t row = 0; row < n; ++row) top_of_row(logits + row * stride, vocab, ids + row * kTop, log_probs + row * kTop);
}

}  // extern "C"
