// Softmax attention over cached rows for AVX512: grouped heads, causal or a tree mask on the newest rows.
//
// A query's result depends only on the keys it sees and their order: scores are one dot product each, the softmax
// denominator and the output are summed key by key, and a hidden key adds exact zeros. So a row verified in a draft tree
// equals the same row decoded alone, bit for bit, wherever its ancestors lie among the new rows.

#include "attention.h"

#include <algorithm>
#include <limits>

#include "simd.h"

namespace {

constexpr int kLanes = 16;
constexpr int kQueries = 8;  // a task: that many (row, head) pairs of one KV head share its keys in L1

// Sixteen vectors → one vector of their sixteen sums.
AVX512 inline __m512 sum_lanes(__m512* v) {
  for (int i = 0; i < 8; ++i)
    v[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(v[2 * i]), b = _mm512_castps_pd(v[2 * i + 1]);
    v[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  for (int i = 0; i < 2; ++i)
    v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x88), _mm512_shuffle_f32x4(v[0], v[1], 0xdd));
}

// scores[query][key] of `count` queries against the keys a query may see.
template <int VECTORS>
AVX512 void score(const float* q, int count, const float* keys, const int64_t* limits, int64_t total, int64_t width,
                  float* scores) {
  constexpr int dim = VECTORS * kLanes;
  const int64_t last = *std::max_element(limits, limits + count);
  for (int64_t start = 0; start < last; start += kLanes) {
    for (int query = 0; query < count; ++query) {
      if (start >= limits[query]) continue;
      __m512 parts[kLanes];
      for (int key = 0; key < kLanes; ++key) {
        const float* row = keys + std::min(start + key, total - 1) * dim;
        __m512 part = _mm512_mul_ps(_mm512_loadu_ps(q + query * dim), _mm512_loadu_ps(row));
        for (int i = 1; i < VECTORS; ++i)
          part = _mm512_fmadd_ps(_mm512_loadu_ps(q + query * dim + i * kLanes), _mm512_loadu_ps(row + i * kLanes), part);
        parts[key] = part;
      }
      _mm512_storeu_ps(scores + query * width + start, sum_lanes(parts));
    }
  }
}

// scores → exp(score − max) over [0, limit).
AVX512 void exponentiate(float* scores, int64_t limit) {
  const float nothing = -std::numeric_limits<float>::infinity();
  for (int64_t i = limit; i % kLanes; ++i) scores[i] = nothing;
  __m512 peaks = _mm512_set1_ps(nothing);
  for (int64_t i = 0; i < limit; i += kLanes) peaks = _mm512_max_ps(peaks, _mm512_loadu_ps(scores + i));
  const __m512 peak = _mm512_set1_ps(_mm512_reduce_max_ps(peaks));
  for (int64_t i = 0; i < limit; i += kLanes)
    _mm512_storeu_ps(scores + i, exp_nonpositive(_mm512_sub_ps(_mm512_loadu_ps(scores + i), peak)));
}

// Weighted sums of values for QUERIES queries at once; keys outside a query's limit weigh zero.
template <int VECTORS, int QUERIES>
AVX512 void weigh(const float* weights, int64_t width, int64_t limit, const float* values, float* const* out) {
  constexpr int dim = VECTORS * kLanes;
  __m512 sums[QUERIES][VECTORS];
  float totals[QUERIES] = {};
  for (auto& query : sums)
    for (auto& part : query) part = _mm512_setzero_ps();
  for (int64_t key = 0; key < limit; ++key) {
    for (int query = 0; query < QUERIES; ++query) totals[query] += weights[query * width + key];
    for (int i = 0; i < VECTORS; ++i) {
      const __m512 value = _mm512_loadu_ps(values + key * dim + i * kLanes);
      for (int query = 0; query < QUERIES; ++query)
        sums[query][i] = _mm512_fmadd_ps(_mm512_set1_ps(weights[query * width + key]), value, sums[query][i]);
    }
  }
  for (int query = 0; query < QUERIES; ++query)
    for (int i = 0; i < VECTORS; ++i)
      _mm512_storeu_ps(out[query] + i * kLanes, _mm512_div_ps(sums[query][i], _mm512_set1_ps(totals[query])));
}

template <int VECTORS>
AVX512 void attend(const Attention& p, int64_t kv_head, int64_t first, int count, std::vector<float>& scores) {
  constexpr int dim = VECTORS * kLanes;
  constexpr int pair = 2;
  const int64_t group = p.heads / p.kv_heads, base = p.total - p.n;
  const int64_t width = (p.total + kLanes - 1) / kLanes * kLanes;
  scores.resize(kQueries * width);
  alignas(64) float q[kQueries * dim];
  int64_t limits[kQueries], rows[kQueries];
  float* out[kQueries];
  for (int query = 0; query < count; ++query) {
    const int64_t row = (first + query) / group, head = kv_head * group + (first + query) % group;
    const float* source = p.q + row * p.q_stride + head * dim;
    for (int i = 0; i < dim; ++i) q[query * dim + i] = source[i] * p.scale;
    rows[query] = row;
    limits[query] = p.hidden ? p.total : base + row + 1;
    out[query] = p.out + (row * p.heads + head) * dim;
  }
  score<VECTORS>(q, count, p.keys + kv_head * p.kv_stride, limits, p.total, width, scores.data());
  for (int query = 0; query < count; ++query) {
    float* line = scores.data() + query * width;
    if (p.hidden)
      for (int64_t j = 0; j < p.n; ++j)
        if (p.hidden[rows[query] * p.n + j]) line[base + j] = -std::numeric_limits<float>::infinity();
    exponentiate(line, limits[query]);
    std::fill(line + std::min(width, (limits[query] + kLanes - 1) / kLanes * kLanes), line + width, 0.0f);
  }
  const float* values = p.values + kv_head * p.kv_stride;
  int query = 0;
  for (; query + pair <= count; query += pair)
    weigh<VECTORS, pair>(scores.data() + query * width, width, std::max(limits[query], limits[query + 1]), values,
                         out + query);
  if (query < count) weigh<VECTORS, 1>(scores.data() + query * width, width, limits[query], values, out + query);
}

}  // namespace

bool attention_supports(int64_t dim) { return dim == 32 || dim == 64 || dim == 80 || dim == 96 || dim == 128; }

int64_t attention_tasks(const Attention& p) {
  return p.kv_heads * ((p.n * (p.heads / p.kv_heads) + kQueries - 1) / kQueries);
}

void run_attention_task(const Attention& p, int64_t task, std::vector<float>& scores) {
  const int64_t queries = p.n * (p.heads / p.kv_heads), blocks = (queries + kQueries - 1) / kQueries;
  const int64_t head = task / blocks, first = task % blocks * kQueries;
  const int count = static_cast<int>(std::min<int64_t>(kQueries, queries - first));
  switch (p.dim) {
    case 32: return attend<2>(p, head, first, count, scores);
    case 64: return attend<4>(p, head, first, count, scores);
    case 80: return attend<5>(p, head, first, count, scores);
    case 96: return attend<6>(p, head, first, count, scores);
    case 128: return attend<8>(p, head, first, count, scores);
    default: return;
  }
}

extern "C" {

int holefill_attention_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

// 0 on success, 1 for a head size without an instantiation.
int holefill_attention(const float* q, int64_t q_stride, const float* keys, const float* values, int64_t kv_stride,
                       const uint8_t* hidden, float* out, int64_t n, int64_t heads, int64_t kv_heads, int64_t total,
                       int64_t dim, float scale, int threads) {
  if (!attention_supports(dim)) return 1;
  if (n == 0) return 0;
  const Attention p{q, keys, values, hidden, out, n, heads, kv_heads, total, q_stride, kv_stride, dim, scale};
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<float> scores;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < attention_tasks(p); ++task) run_attention_task(p, task, scores);
  }
  return 0;
}

}  // extern "C"
