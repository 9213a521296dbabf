// Softmax attention over cached rows for AVX512: grouped heads, causal or a tree mask on the newest rows.
//
// A query's result depends only on the keys it sees and their order: scores are one dot product each, the softmax
// denominator and the output are summed key by key, and a hidden key adds exact zeros. So a row verified in a draft tree
// equals the same row decoded alone, bit for bit, wherever its ancestors lie among the new rows, and wherever in the pool
// keys lie: a key's index orders the sums, its row is only where it is read.

#include "attention.h"

#include <algorithm>
#include <limits>

#include "simd.h"

namespace {

constexpr int kLanes = 16;
constexpr int kQueries = 8;       // a task: that many (row, head) pairs of one KV head, side by side in every register
constexpr int64_t kBlock = 32;    // keys whose values stay in L1 while all columns of the output are summed
constexpr int64_t kAhead = 1024;  // numbers of keys between a key and the one fetched with it

AVX512 inline __m512 load(const float* numbers) { return _mm512_loadu_ps(numbers); }
AVX512 inline __m512 load(const Half* numbers) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers)));
}

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

// Whether keys [from, to) of a block lie one behind the other, as most do: then no key's row has to be looked up.
AVX512 bool is_run(const int32_t* rows, int64_t from, int64_t to) {
  const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int64_t at = from; at < to; at += kLanes) {
    const auto inside = static_cast<__mmask16>((1u << std::min<int64_t>(kLanes, to - at)) - 1);
    const __m512i expected = _mm512_add_epi32(_mm512_set1_epi32(rows[from] + static_cast<int32_t>(at - from)), steps);
    if (_mm512_mask_cmpneq_epi32_mask(inside, _mm512_maskz_loadu_epi32(inside, rows + at), expected)) return false;
  }
  return true;
}

// scores[key][query] of all eight queries against keys [from, to), two keys at a time: 16 sums fill the registers.
template <int VECTORS, bool RUN, typename Number>
AVX512 void score(const float* q, const Number* keys, const int32_t* rows, int64_t from, int64_t to, int64_t last,
                  float* scores) {
  constexpr int64_t dim = VECTORS * kLanes, ahead = kAhead / dim;
  const Number* run = keys + (rows[from] - from) * dim;
  for (int64_t key = from; key < to; key += 2) {
    const int64_t next = std::min(key + 1, to - 1);
    const Number* first = RUN ? run + key * dim : keys + rows[key] * dim;
    const Number* second = RUN ? run + next * dim : keys + rows[next] * dim;
    const Number* first_ahead = RUN ? first + kAhead : keys + rows[std::min(key + ahead, last - 1)] * dim;
    const Number* second_ahead = RUN ? first + dim + kAhead : keys + rows[std::min(key + 1 + ahead, last - 1)] * dim;
    __m512 parts[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) parts[i] = _mm512_setzero_ps();
#pragma GCC unroll 1
    for (int i = 0; i < dim; i += kLanes) {
      const __m512 a = load(first + i), b = load(second + i);
      _mm_prefetch(first_ahead + i, _MM_HINT_T0);
      _mm_prefetch(second_ahead + i, _MM_HINT_T0);
#pragma GCC unroll 8
      for (int query = 0; query < kQueries; ++query) {
        const __m512 part = _mm512_load_ps(q + query * dim + i);
        parts[query] = _mm512_fmadd_ps(part, a, parts[query]);
        parts[kQueries + query] = _mm512_fmadd_ps(part, b, parts[kQueries + query]);
      }
    }
    _mm512_storeu_ps(scores + key * kQueries, sum_lanes(parts));
  }
}

// scores → exp(score − max) over keys [0, last), and each query's sum of them, key by key.
AVX512 __m256 exponentiate(float* scores, int64_t last) {
  const float nothing = -std::numeric_limits<float>::infinity();
  const int64_t end = last * kQueries;
  if (last % 2) _mm256_storeu_ps(scores + end, _mm256_set1_ps(nothing));
  __m512 peaks = _mm512_set1_ps(nothing);
  for (int64_t i = 0; i < end; i += kLanes) peaks = _mm512_max_ps(peaks, _mm512_loadu_ps(scores + i));
  const __m512 peak = _mm512_max_ps(peaks, _mm512_shuffle_f32x4(peaks, peaks, 0x4e));
  __m256 total = _mm256_setzero_ps();
  for (int64_t i = 0; i < end; i += kLanes) {
    const __m512 pair = exp_nonpositive(_mm512_sub_ps(_mm512_loadu_ps(scores + i), peak));
    _mm512_storeu_ps(scores + i, pair);
    total = _mm256_add_ps(total, _mm512_castps512_ps256(pair));
    total = _mm256_add_ps(total, _mm512_extractf32x8_ps(pair, 1));
  }
  return total;
}

// sums[query][i … i + 16 · VECTORS) += weights · values over keys [from, to), key by key.
template <int VECTORS, bool RUN, typename Number>
AVX512 void weigh(const float* weights, const Number* values, const int32_t* rows, int64_t from, int64_t to,
                  int64_t dim, float* sums) {
  const Number* run = values + (rows[from] - from) * dim;
  __m512 parts[kQueries][VECTORS];
#pragma GCC unroll 8
  for (int query = 0; query < kQueries; ++query)
#pragma GCC unroll 2
    for (int i = 0; i < VECTORS; ++i) parts[query][i] = _mm512_load_ps(sums + query * dim + i * kLanes);
  for (int64_t key = from; key < to; ++key) {
    const Number* row = RUN ? run + key * dim : values + rows[key] * dim;
    __m512 value[VECTORS];
#pragma GCC unroll 2
    for (int i = 0; i < VECTORS; ++i) value[i] = load(row + i * kLanes);
#pragma GCC unroll 8
    for (int query = 0; query < kQueries; ++query) {
      const __m512 weight = _mm512_set1_ps(weights[key * kQueries + query]);
#pragma GCC unroll 2
      for (int i = 0; i < VECTORS; ++i) parts[query][i] = _mm512_fmadd_ps(weight, value[i], parts[query][i]);
    }
  }
#pragma GCC unroll 8
  for (int query = 0; query < kQueries; ++query)
#pragma GCC unroll 2
    for (int i = 0; i < VECTORS; ++i) _mm512_store_ps(sums + query * dim + i * kLanes, parts[query][i]);
}

template <int VECTORS, bool RUN, typename Number>
AVX512 void weigh_block(const float* weights, const Number* values, const int32_t* rows, int64_t from, int64_t to,
                        float* sums) {
  constexpr int dim = VECTORS * kLanes;
  for (int i = 0; i + 2 * kLanes <= dim; i += 2 * kLanes)
    weigh<2, RUN>(weights, values + i, rows, from, to, dim, sums + i);
  if constexpr (VECTORS % 2)
    weigh<1, RUN>(weights, values + dim - kLanes, rows, from, to, dim, sums + dim - kLanes);
}

template <int VECTORS, typename Number>
AVX512 void score_block(const float* q, const Number* keys, const int32_t* rows, int64_t from, int64_t last,
                        float* scores) {
  const int64_t to = std::min(last, from + kBlock);
  if (is_run(rows, from, to)) score<VECTORS, true>(q, keys, rows, from, to, last, scores);
  else score<VECTORS, false>(q, keys, rows, from, to, last, scores);
}

// Which of the eight queries do not see key `base + j`: bit by bit.
template <typename Number>
int hidden_queries(const Attention<Number>& p, const int64_t* rows, int64_t j) {
  int bits = 0;
  for (int query = 0; query < kQueries; ++query)
    bits |= (p.hidden ? p.hidden[rows[query] * p.n + j] != 0 : j > rows[query]) << query;
  return bits;
}

template <int VECTORS, typename Number>
AVX512 void attend(const Attention<Number>& p, int64_t kv_head, int64_t first, int count, std::vector<float>& scores) {
  constexpr int dim = VECTORS * kLanes;
  const int64_t group = p.heads / p.kv_heads, base = p.total - p.n;
  alignas(64) float q[kQueries * dim];
  alignas(64) float sums[kQueries * dim] = {};
  alignas(32) float totals[kQueries];
  int64_t rows[kQueries];
  for (int query = 0; query < kQueries; ++query) {
    const int64_t from = first + std::min(query, count - 1);  // fewer than eight: the last one again
    rows[query] = p.first + from / group;
    const float* source = p.q + from / group * p.q_stride + (kv_head * group + from % group) * dim;
    for (int i = 0; i < dim; ++i) q[query * dim + i] = source[i] * p.scale;
  }
  const int64_t last = p.hidden ? p.total : base + rows[kQueries - 1] + 1;
  scores.resize(static_cast<std::size_t>((last + 1) * kQueries));
  for (int64_t from = 0; from < last; from += kBlock)
    score_block<VECTORS>(q, p.keys + kv_head * p.kv_stride, p.rows, from, last, scores.data());
  for (int64_t key = p.hidden ? base : base + rows[0]; key < last; ++key) {
    float* line = scores.data() + key * kQueries;
    const auto hidden = static_cast<__mmask8>(hidden_queries(p, rows, key - base));
    _mm256_mask_storeu_ps(line, hidden, _mm256_set1_ps(-std::numeric_limits<float>::infinity()));
  }
  _mm256_store_ps(totals, exponentiate(scores.data(), last));
  const Number* values = p.values + kv_head * p.kv_stride;
  for (int64_t from = 0; from < last; from += kBlock) {
    const int64_t to = std::min(last, from + kBlock);
    if (is_run(p.rows, from, to)) weigh_block<VECTORS, true>(scores.data(), values, p.rows, from, to, sums);
    else weigh_block<VECTORS, false>(scores.data(), values, p.rows, from, to, sums);
  }
  for (int query = 0; query < count; ++query) {
    float* out = p.out + ((rows[query] - p.first) * p.heads + kv_head * group + (first + query) % group) * dim;
    for (int i = 0; i < dim; i += kLanes)
      _mm512_storeu_ps(out + i, _mm512_div_ps(_mm512_load_ps(sums + query * dim + i), _mm512_set1_ps(totals[query])));
  }
}

}  // namespace

bool attention_supports(int64_t dim) { return dim == 32 || dim == 64 || dim == 80 || dim == 96 || dim == 128; }

template <typename Number>
int64_t attention_tasks(const Attention<Number>& p) {
  return p.kv_heads * (((p.n - p.first) * (p.heads / p.kv_heads) + kQueries - 1) / kQueries);
}

template <typename Number>
void run_attention_task(const Attention<Number>& p, int64_t task, std::vector<float>& scores) {
  const int64_t queries = (p.n - p.first) * (p.heads / p.kv_heads), blocks = (queries + kQueries - 1) / kQueries;
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

template int64_t attention_tasks(const Attention<float>&);
template int64_t attention_tasks(const Attention<Half>&);
template void run_attention_task(const Attention<float>&, int64_t, std::vector<float>&);
template void run_attention_task(const Attention<Half>&, int64_t, std::vector<float>&);

namespace {

template <typename Number>
void run(const Attention<Number>& p, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<float> scores;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < attention_tasks(p); ++task) run_attention_task(p, task, scores);
  }
}

}  // namespace

extern "C" {

int holefill_attention_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

// `half`: keys and values are fp16, else fp32. 0 on success, 1 for a head size without an instantiation.
int holefill_attention(const float* q, int64_t q_stride, const void* keys, const void* values, int half,
                       int64_t kv_stride, const int32_t* rows, const uint8_t* hidden, float* out, int64_t n,
                       int64_t heads, int64_t kv_heads, int64_t total, int64_t dim, float scale, int threads) {
  if (!attention_supports(dim)) return 1;
  if (n == 0) return 0;
  const auto over = [&](auto number) {
    using Number = decltype(number);
    run(Attention<Number>{q, static_cast<const Number*>(keys), static_cast<const Number*>(values), rows, hidden, out, n,
                          0, heads, kv_heads, total, q_stride, kv_stride, dim, scale},
        threads);
  };
  if (half) over(Half{});
  else over(float{});
  return 0;
}

}  // extern "C"
