// All layers of a decoder in one call: norm → qkv → rope → cache → attention → o → norm → gate, up → SwiGLU → down.
//
// One team of threads lives through the whole forward, and what lies between two products (norms, rope, SwiGLU, rounding
// to int8) runs in its place: as torch operations that glue was a fifth of a one-token step. The rows of a forward do not
// know of each other: products and attention are row-invariant, the rest works row by row.

#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "attention.h"
#include "layers.h"
#include "simd.h"

namespace {

constexpr int64_t kSegment = 512;  // inputs of a task between products: a multiple of every group
constexpr int64_t kSmallestGroup = 16;

template <typename T>
std::unique_ptr<T[]> buffer(int64_t size) {
  return std::unique_ptr<T[]>(new T[static_cast<std::size_t>(size)]);
}

std::array<const LowRank*, 4> additions(const Layer& layer) {
  return {&layer.qkv_more, &layer.o_more, &layer.gate_up_more, &layer.down_more};
}

bool has_formats(const Linear& linear) {
  for (int64_t part = 0; part < linear.count; ++part)
    if (!has_format(linear.parts[part])) return false;
  return true;
}

// The rounded inputs of one product at a time, one set for each part: formats differ in groups and offsets.
class Rounded {
 public:
  // For products of at most n rows.
  Rounded(int64_t n, int64_t widest, Isa isa) : isa_(isa) {
    for (int i = 0; i < kParts; ++i) {
      codes_[i] = buffer<int8_t>(n * widest);
      sums_[i] = buffer<int32_t>(n * widest / kSmallestGroup);
      scales_[i] = buffer<float>(n * widest / kSmallestGroup);
    }
  }

  Activations of(int64_t part) const { return {codes_[part].get(), nullptr, sums_[part].get(), scales_[part].get()}; }

  // Inputs [from, to) of row `row` of n.
  void round(const Linear& linear, const float* x, int64_t n, int64_t row, int64_t from, int64_t to) const {
    for (int64_t part = 0; part < linear.count; ++part)
      quantize(x, n, linear.in, row, from, to, linear.parts[part], of(part), isa_);
  }

  // y (+)= linear(x) of n rows by the whole team; ends in a barrier.
  void multiply(const Linear& linear, int64_t n, float* y, bool add) const {
    Product products[kParts];
    int64_t steps[kParts], ends[kParts], tasks = 0, first = 0;
    for (int64_t part = 0; part < linear.count; ++part) {
      const Matrix& matrix = linear.parts[part];
      const float* bias = linear.bias ? linear.bias + first : nullptr;
      products[part] = {matrix, of(part), bias, y + first, n, linear.in, linear.out(), add};
      steps[part] = task_tiles(products[part], omp_get_num_threads());
      ends[part] = tasks += (matrix.tiles() + steps[part] - 1) / steps[part];
      first += matrix.out;
    }
    const auto run = [&](int64_t task) {
      int64_t part = 0;
      while (task >= ends[part]) ++part;
      const int64_t from = (task - (part ? ends[part - 1] : 0)) * steps[part];
      const int64_t to = std::min(linear.parts[part].tiles(), from + steps[part]);
      run_tiles(products[part], from, to, isa_);
    };
    // Long tasks go to whoever is free: parts of other formats take other times, and a core may be busy elsewhere.
    // Short ones follow each other, since a tile fetches the next one ahead.
    if (n > kBlockRows) {
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < tasks; ++task) run(task);
    } else {
#pragma omp for schedule(static)
      for (int64_t task = 0; task < tasks; ++task) run(task);
    }
  }

 private:
  Isa isa_;
  std::unique_ptr<int8_t[]> codes_[kParts];
  std::unique_ptr<int32_t[]> sums_[kParts];
  std::unique_ptr<float[]> scales_[kParts];
};

AVX512 void rms_norm(const float* x, const float* weight, int64_t size, float eps, float* out) {
  __m512 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < size; i += 16) {
    const __m512 v = _mm512_loadu_ps(x + i);
    squares = _mm512_fmadd_ps(v, v, squares);
  }
  const float mean = _mm512_reduce_add_ps(squares) / static_cast<float>(size);
  const __m512 scale = _mm512_set1_ps(1.0f / std::sqrt(mean + eps));
  for (int64_t i = 0; i < size; i += 16)
    _mm512_storeu_ps(out + i, _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale), _mm512_loadu_ps(weight + i)));
}

// gate · sigmoid(gate) · up over [0, size), a multiple of 16, into gate.
AVX512 void swiglu(float* gate, const float* up, int64_t size) {
  const __m512 one = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < size; i += 16) {
    const __m512 g = _mm512_loadu_ps(gate + i);
    const __m512 e = exp_nonpositive(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_abs_ps(g)));
    const __mmask16 negative = _mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_LT_OQ);
    const __m512 sigmoid = _mm512_div_ps(_mm512_mask_mov_ps(one, negative, e), _mm512_add_ps(one, e));
    _mm512_storeu_ps(gate + i, _mm512_mul_ps(_mm512_mul_ps(g, sigmoid), _mm512_loadu_ps(up + i)));
  }
}

void rotate(float* x, const float* cos, const float* sin, int64_t dim) {
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cos[i] + b * sin[i];
    x[i + half] = b * cos[i + half] + a * sin[i + half];
  }
}

void store(const float* x, int64_t dim, float* to) { std::memcpy(to, x, static_cast<std::size_t>(dim) * sizeof(float)); }

AVX512 void store(const float* x, int64_t dim, Half* to) {
  for (int64_t i = 0; i < dim; i += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm512_cvtps_ph(_mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
}

int64_t widest_rank(const Shape& shape, const Layer* layers) {
  int64_t widest = 0;
  for (int64_t index = 0; index < shape.layers; ++index)
    for (const LowRank* more : additions(layers[index]))
      if (more->a.count) widest = std::max(widest, more->b.in);
  return widest;
}

// The rounded inputs of an adapter's two products, and what lies between them. Nothing is allocated without one.
struct Adapted {
  Adapted(int64_t n, int64_t widest, int64_t rank, Isa isa)
      : inputs(rank ? n : 0, widest, isa), inner(rank ? n : 0, rank, isa), between(buffer<float>(n * rank)) {}

  Rounded inputs, inner;
  std::unique_ptr<float[]> between;  // [n, rank]
};

// `Number`: of the cache.
template <typename Number>
class Forward {
 public:
  Forward(const Shape& shape, const Layer* layers, const Call& call, Isa isa)
      : shape_(shape), layers_(layers), call_(call), qkv_width_((shape.heads + 2 * shape.kv_heads) * shape.dim),
        inner_(layers[0].down.in), widest_(std::max({shape.hidden, shape.heads * shape.dim, inner_})),
        rounded_(call.n, widest_, isa), adapted_(call.n, widest_, widest_rank(shape, layers), isa),
        qkv_(buffer<float>(call.n * qkv_width_)), attended_(buffer<float>(call.n * shape.heads * shape.dim)),
        both_(buffer<float>(call.n * 2 * inner_)) {}

  // By every thread of a team.
  void run() {
    std::vector<float> scores, line(static_cast<std::size_t>(shape_.hidden));
    for (int64_t index = 0; index < shape_.layers; ++index) {
      const Layer& layer = layers_[index];
      normalize(layer.qkv, layer.qkv_more, layer.attn_norm, 0, line.data());
      if (stopped_) return;
      multiply(layer.qkv, layer.qkv_more, 0, qkv_.get(), false);
      cache(index);
      // Behind the last layer's keys and values nobody asks for the rows before the wanted ones.
      const int64_t first = index + 1 < shape_.layers ? 0 : call_.wanted;
      if (first == call_.n) return;
      float* x = call_.x + first * shape_.hidden;
      attend(index, first, scores);
      round_attended(layer.o, layer.o_more, first);
      multiply(layer.o, layer.o_more, first, x, true);
      normalize(layer.gate_up, layer.gate_up_more, layer.mlp_norm, first, line.data());
      if (stopped_) return;
      multiply(layer.gate_up, layer.gate_up_more, first, both_.get(), false);
      activate(layer.down, layer.down_more, first);
      multiply(layer.down, layer.down_more, first, x, true);
    }
  }

  bool stopped() const { return stopped_; }

 private:
  // What follows runs over the rows from `first` on; between two products they lie at the beginning of their buffers.

  void round(const Linear& next, const LowRank& more, const float* x, int64_t n, int64_t row, int64_t from,
             int64_t to) const {
    rounded_.round(next, x, n, row, from, to);
    if (more.a.count) adapted_.inputs.round(more.a, x, n, row, from, to);
  }

  // y (+)= linear(x) + more(x), by the whole team.
  void multiply(const Linear& linear, const LowRank& more, int64_t first, float* y, bool add) const {
    const int64_t n = call_.n - first;
    rounded_.multiply(linear, n, y, add);
    if (!more.a.count) return;
    adapted_.inputs.multiply(more.a, n, adapted_.between.get(), false);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < n; ++row)
      adapted_.inner.round(more.b, adapted_.between.get() + row * more.b.in, n, row, 0, more.b.in);
    adapted_.inner.multiply(more.b, n, y, true);
  }

  // Also asks whether to stop. One thread does, and the barrier at the end of the loop tells all of them the same: none
  // leaves alone. The next asking comes several barriers later, when every thread has read the answer.
  void normalize(const Linear& next, const LowRank& more, const float* weight, int64_t first, float* line) {
    if (call_.stop && omp_get_thread_num() == 0) stopped_ = __atomic_load_n(call_.stop, __ATOMIC_RELAXED) != 0;
    const int64_t n = call_.n - first;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < n; ++row) {
      const float* x = call_.x + (first + row) * shape_.hidden;
      rms_norm(x, weight, shape_.hidden, static_cast<float>(shape_.eps), line);
      round(next, more, line, n, row, 0, shape_.hidden);
    }
  }

  // Turns queries and keys by their positions and stores keys and values, of all rows.
  void cache(int64_t index) const {
    const int64_t dim = shape_.dim, turned = (shape_.heads + shape_.kv_heads) * dim, kv_stride = call_.capacity * dim;
    Number *keys = of_layer(call_.keys, index), *values = of_layer(call_.values, index);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < call_.n; ++row) {
      float* q = qkv_.get() + row * qkv_width_;
      const float *cos = call_.cos + row * dim, *sin = call_.sin + row * dim;
      for (int64_t head = 0; head < shape_.heads + shape_.kv_heads; ++head) rotate(q + head * dim, cos, sin, dim);
      for (int64_t head = 0; head < shape_.kv_heads; ++head) {
        const int64_t place = head * kv_stride + call_.rows[call_.length + row] * dim;
        store(q + (shape_.heads + head) * dim, dim, keys + place);
        store(q + turned + head * dim, dim, values + place);
      }
    }
  }

  void attend(int64_t index, int64_t first, std::vector<float>& scores) const {
    const int64_t dim = shape_.dim;
    const Attention<Number> problem{qkv_.get() + first * qkv_width_, of_layer(call_.keys, index),
                                    of_layer(call_.values, index), call_.rows, call_.hidden, attended_.get(),
                                    call_.n, first, shape_.heads, shape_.kv_heads, call_.length + call_.n, qkv_width_,
                                    call_.capacity * dim, dim, 1.0f / std::sqrt(static_cast<float>(dim))};
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < attention_tasks(problem); ++task) run_attention_task(problem, task, scores);
  }

  Number* of_layer(void* cache, int64_t index) const {
    return static_cast<Number*>(cache) + index * shape_.kv_heads * call_.capacity * shape_.dim;
  }

  void round_attended(const Linear& next, const LowRank& more, int64_t first) const {
    const int64_t n = call_.n - first;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < n; ++row) round(next, more, attended_.get() + row * next.in, n, row, 0, next.in);
  }

  void activate(const Linear& next, const LowRank& more, int64_t first) const {
    // The rows of a block share lines of rounded inputs: a task writes those lines while they are in L1.
    const int64_t n = call_.n - first;
    const int64_t segments = (inner_ + kSegment - 1) / kSegment, blocks = (n + kBlockRows - 1) / kBlockRows;
#pragma omp for schedule(static)
    for (int64_t task = 0; task < blocks * segments; ++task) {
      const int64_t block = task / segments * kBlockRows, from = task % segments * kSegment;
      const int64_t to = std::min(inner_, from + kSegment);
      for (int64_t row = block; row < std::min<int64_t>(n, block + kBlockRows); ++row) {
        float* gate = both_.get() + row * 2 * inner_;
        swiglu(gate + from, gate + inner_ + from, to - from);
        round(next, more, gate, n, row, from, to);
      }
    }
  }

  const Shape& shape_;
  const Layer* layers_;
  const Call& call_;
  int64_t qkv_width_, inner_, widest_;
  Rounded rounded_;
  Adapted adapted_;
  std::unique_ptr<float[]> qkv_, attended_, both_;
  bool stopped_ = false;
};

template <typename Number>
int run(const Shape& shape, const Layer* layers, const Call& call, Isa isa, int threads) {
  Forward<Number> forward(shape, layers, call, isa);
#pragma omp parallel num_threads(threads) if (threads > 1)
  forward.run();
  return forward.stopped() ? kStopped : kDone;
}

}  // namespace

extern "C" {

int64_t holefill_layer_bytes() { return sizeof(Layer); }

int holefill_layers(const Shape* shape, const Layer* layers, const Call* call, int isa, int threads) {
  const Isa chosen = static_cast<Isa>(isa);
  if (!attention_supports(shape->dim) || chosen < kAvx512Vnni || !runs_here(chosen)) return kNoKernel;
  for (int64_t index = 0; index < shape->layers; ++index) {
    const Layer& layer = layers[index];
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down})
      if (!has_formats(*linear)) return kNoKernel;
    for (const LowRank* more : additions(layer))
      if (!has_formats(more->a) || !has_formats(more->b)) return kNoKernel;
  }
  if (call->n == 0 || shape->layers == 0) return kDone;
  return (call->half ? run<Half> : run<float>)(*shape, layers, *call, chosen, threads);
}

}  // extern "C"
