// Every format over awkward sizes, with exactly sized heap buffers: AddressSanitizer and UBSan must stay silent.
#include "layers.h"

extern "C" {
int holefill_isa();
int holefill_grouped_linear(const float*, int64_t, int64_t, const uint8_t*, int64_t, const float*, int, int, int, int8_t*,
                            int32_t*, float*, float*, int64_t, int, int);
int holefill_refine_top(const float*, int64_t, int64_t, const uint8_t*, int64_t, const float*, int, int, int, int8_t*,
                        int8_t*, int32_t*, float*, float*, int64_t, int, int);
int holefill_grouped_rows(const int64_t*, int64_t, int64_t, const uint8_t*, int, int, int, float*);
void holefill_coarse(const uint8_t*, int64_t, uint8_t*);
int holefill_top_supported();
void holefill_top(const float*, int64_t, int64_t, int64_t, int32_t*, float*, int);
int holefill_attention_supported();
int holefill_attention(const float*, int64_t, const void*, const void*, int, int64_t, const int32_t*, const uint8_t*,
                       float*, int64_t, int64_t, int64_t, int64_t, int64_t, float, int);
}

#include <cstdio>
#include <vector>

namespace {

std::vector<uint8_t> weight_of(int64_t out, int64_t in, int64_t bits, int64_t group, bool affine) {
  const int64_t groups = in / group, tiles = (out + 15) / 16, quads = group / 4;
  const int64_t low = bits == 8 ? quads * 64 : quads / 2 * 64, planes = bits == 8 ? 0 : bits - 4;
  return std::vector<uint8_t>(tiles * groups * (32 * (1 + affine) + low + planes * quads * 8), 0x11);
}

// Two layers with products of two formats, causal and as a tree, written to the last rows of the cache. `stop` as in `Call`.
int layers(int64_t n, int64_t dim, bool tree, bool half, int isa, const int32_t* stop) {
  const int64_t hidden = 64, heads = 4, kv_heads = 2, inner = 544, length = 3, capacity = length + n;
  const int64_t q = heads * dim, kv = kv_heads * dim;
  const std::vector<uint8_t> first = weight_of(q + kv, hidden, 5, 32, false), second = weight_of(kv, hidden, 8, 32, false);
  const std::vector<uint8_t> o = weight_of(hidden, q, 5, 32, false), gate_up = weight_of(2 * inner, hidden, 4, 32, true);
  const std::vector<uint8_t> down = weight_of(hidden, inner, 6, 16, false);
  const std::vector<uint8_t> a = weight_of(32, hidden, 8, 32, false), b = weight_of(2 * inner, 32, 8, 32, false);
  const LowRank none{}, more{{{{a.data(), 32, 8, 32, 0}}, 1, hidden, nullptr},
                             {{{b.data(), 2 * inner, 8, 32, 0}}, 1, 32, nullptr}};
  const std::vector<float> bias(q + 2 * kv, 0.1f), norm(hidden, 1.0f), table(n * dim, 0.5f);
  const Layer layer{{{{first.data(), q + kv, 5, 32, 0}, {second.data(), kv, 8, 32, 0}}, 2, hidden, bias.data()},
                    {{{o.data(), hidden, 5, 32, 0}}, 1, q, nullptr},
                    {{{gate_up.data(), 2 * inner, 4, 32, 1}}, 1, hidden, nullptr},
                    {{{down.data(), hidden, 6, 16, 0}}, 1, inner, nullptr},
                    none, none, more, none, norm.data(), norm.data()};
  const std::vector<Layer> all(2, layer);
  std::vector<float> x(n * hidden, 0.3f);
  std::vector<uint8_t> keys(2 * kv_heads * capacity * dim * (half ? 2 : 4)), values = keys;
  std::vector<uint8_t> mask(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i + 1; j < n; ++j) mask[i * n + j] = 1;
  const Shape shape{2, hidden, heads, kv_heads, dim, 1e-6};
  std::vector<int32_t> rows(length + n);  // from the end of the buffer on
  for (int64_t i = 0; i < length + n; ++i) rows[i] = static_cast<int32_t>(capacity - 1 - i);
  const Call call{x.data(), table.data(), table.data(), keys.data(), values.data(), rows.data(),
                  tree ? mask.data() : nullptr, stop, n, length, capacity, half, n / 2};
  return holefill_layers(&shape, all.data(), &call, isa, 2);
}

}  // namespace

int main() {
  struct Case { int bits, group, affine; };
  const Case cases[] = {{4, 32, 1}, {5, 32, 0}, {6, 16, 0}, {8, 32, 0}};
  for (const Case& c : cases)
    for (int64_t out : {1, 16, 37, 700})
      for (int64_t n : {0, 1, 7, 16, 19, 35})
        for (int isa : {kAvx2, kAvx512Vnni, kAmx, kAmxEmulated}) {
          if (!runs_here(static_cast<Isa>(isa))) continue;
          const int64_t in = 96, groups = in / c.group;
          const std::vector<uint8_t> weight = weight_of(out, in, c.bits, c.group, c.affine);
          std::vector<float> x(n * in, 0.5f), bias(out, 1.0f), y(n * out), scales(n * groups), rows(in);
          std::vector<int8_t> high(n * in), low(n * in);
          std::vector<int32_t> sums(n * groups);
          int status = holefill_grouped_linear(x.data(), n, in, weight.data(), out, bias.data(), c.bits, c.group, c.affine,
                                               high.data(), sums.data(), scales.data(), y.data(), out, isa, 2);
          status |= holefill_refine_top(x.data(), n, in, weight.data(), out, bias.data(), c.bits, c.group, c.affine,
                                        high.data(), low.data(), sums.data(), scales.data(), y.data(), out, isa, 2);
          const int64_t last = out - 1;
          if (status || holefill_grouped_rows(&last, 1, in, weight.data(), c.bits, c.group, c.affine, rows.data()))
            return std::fprintf(stderr, "no kernel for %d bits\n", c.bits), 1;
        }
  const std::vector<uint8_t> whole = weight_of(37, 96, 8, 32, false);
  std::vector<uint8_t> upper = weight_of(37, 96, 5, 32, false);
  holefill_coarse(whole.data(), 3 * 3, upper.data());
  if (holefill_top_supported())
    for (int64_t vocab : {0, 1, 7, 16, 17, 4100})
      for (int64_t n : {0, 1, 5}) {
        std::vector<float> logits(n * vocab, 0.5f), log_probs(n * 8);
        std::vector<int32_t> ids(n * 8);
        holefill_top(logits.data(), n, vocab, vocab, ids.data(), log_probs.data(), 2);
        if (n && vocab && ids[8 * (n - 1)] != 0) return std::fprintf(stderr, "the top of %d equals\n", int(vocab)), 1;
      }
  if (holefill_attention_supported())
    for (int64_t dim : {32, 64, 80, 96, 128})
      for (int64_t n : {1, 5})
        for (int64_t total : {n, n + 17}) for (int half : {0, 1}) {
          const int64_t heads = 6, kv_heads = 2;
          std::vector<float> q(n * heads * dim, 0.1f), out(q.size());
          const std::vector<uint8_t> keys(kv_heads * total * dim * (half ? 2 : 4));
          std::vector<int32_t> rows(total);
          for (int64_t i = 0; i < total; ++i) rows[i] = static_cast<int32_t>(total - 1 - i);
          std::vector<uint8_t> hidden(n * n);
          for (int64_t i = 0; i < n; ++i)
            for (int64_t j = i + 1; j < n; ++j) hidden[i * n + j] = 1;
          if (holefill_attention(q.data(), heads * dim, keys.data(), keys.data(), half, total * dim, rows.data(), hidden.data(),
                                 out.data(), n, heads, kv_heads, total, dim, 0.125f, 2))
            return std::fprintf(stderr, "no attention for heads of %d\n", static_cast<int>(dim)), 1;
        }
  const int32_t goes_on = 0, stops = 1;
  for (int isa : {kAvx512Vnni, kAmx, kAmxEmulated}) {
    if (!runs_here(static_cast<Isa>(isa))) continue;
    for (int64_t dim : {32, 80})
      for (int64_t n : {1, 5, 17, 35})
        for (bool tree : {false, true}) for (bool half : {false, true})
          if (layers(n, dim, tree, half, isa, nullptr) != kDone || layers(n, dim, tree, half, isa, &goes_on) != kDone ||
              layers(n, dim, tree, half, isa, &stops) != kStopped)
            return std::fprintf(stderr, "layers for heads of %d\n", static_cast<int>(dim)), 1;
  }
  return 0;
}
