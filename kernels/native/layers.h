// The decoder layers' call. kernels/native_layers.py declares the same fields.
#pragma once

#include <cstdint>

#include "grouped_linear.h"

constexpr int kParts = 3;

// Matrices stacked by rows.
struct Linear {
  Matrix parts[kParts];
  int64_t count, in;
  const float* bias;  // [out] or null

  int64_t out() const {
    int64_t sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += parts[i].out;
    return sum;
  }
};

// What a low-rank adapter adds to a product: y += (x aᵀ) bᵀ. None where a.count is 0.
struct LowRank {
  Linear a, b;
};

struct Layer {
  Linear qkv, o, gate_up, down;
  LowRank qkv_more, o_more, gate_up_more, down_more;
  const float *attn_norm, *mlp_norm;  // [hidden]
};

struct Shape {
  int64_t layers, hidden, heads, kv_heads, dim;
  double eps;
};

struct Call {
  float* x;                // [n, hidden], replaced by the result
  const float *cos, *sin;  // [n, dim], the sign of the rotation folded into sin
  void *keys, *values;     // [layer, kv_head, capacity, dim], fp16 where `half`, else fp32
  const int32_t* rows;     // [length + n], where each token's keys and values lie; the last n are written
  const uint8_t* hidden;   // [n, n] or null
  const int32_t* stop;     // or null; another thread makes it nonzero, and the call ends within half a layer
  int64_t n, length, capacity;
  int64_t half;
  int64_t wanted;          // x is the result from this row on, and of no use before it
};

enum Outcome : int { kDone = 0, kNoKernel = 1, kStopped = 2 };

extern "C" {

// Size of the structure, for a caller to compare with its own declaration.
int64_t holefill_layer_bytes();

// An `Outcome`. kNoKernel: no instantiation for the head size or a weight format, or an `isa` below AVX512-VNNI, or not
// this CPU's. kStopped: what x and the last n rows hold is of no use.
int holefill_layers(const Shape* shape, const Layer* layers, const Call* call, int isa, int threads);

}  // extern "C"
