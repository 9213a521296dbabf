// Attention as the fused layers use it: independent tasks of up to eight (row, head) pairs of one KV head.
#pragma once

#include <cstdint>
#include <vector>

// An fp16 number.
struct Half {
  uint16_t bits;
};

// `Number`: of the cache, float or Half.
template <typename Number>
struct Attention {
  const float* q;         // [n - first, heads, dim], row stride q_stride: of the new rows from `first` on
  const Number* keys;     // [kv_heads, pool rows, dim], head stride kv_stride
  const Number* values;   // like keys
  const int32_t* rows;    // [total], the pool row of each key; the last n keys are the new ones
  const uint8_t* hidden;  // [n, n], nonzero = row i does not see new row j; null = causal
  float* out;             // [n - first, heads, dim]
  int64_t n, first, heads, kv_heads, total, q_stride, kv_stride, dim;
  float scale;
};

bool attention_supports(int64_t dim);

template <typename Number>
int64_t attention_tasks(const Attention<Number>& problem);

// `scores` is the thread's scratch, grown as needed.
template <typename Number>
void run_attention_task(const Attention<Number>& problem, int64_t task, std::vector<float>& scores);
