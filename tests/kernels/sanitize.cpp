// Every format over awkward sizes, with exactly sized heap buffers: AddressSanitizer and UBSan must stay silent.
#include <cstdint>
extern "C" {
int holefill_isa();
int holefill_grouped_linear(const float*, int64_t, int64_t, const uint8_t*, int64_t, const float*, int, int, int, int8_t*,
                            int32_t*, float*, float*, float*, int64_t, int, int);
int holefill_grouped_rows(const int64_t*, int64_t, int64_t, const uint8_t*, int, int, int, float*);
int holefill_attention_supported();
int holefill_attention(const float*, int64_t, const float*, const float*, int64_t, const uint8_t*, float*, int64_t,
                           int64_t, int64_t, int64_t, int64_t, float, int);
}

#include <cstdio>
#include <vector>

int main() {
  struct Case { int bits, group, affine; };
  const Case cases[] = {{4, 32, 1}, {5, 32, 0}, {6, 16, 0}, {8, 32, 0}};
  for (const Case& c : cases)
    for (int64_t out : {1, 16, 37})
      for (int64_t n : {0, 1, 7, 9})
        for (int isa = 1; isa <= holefill_isa(); ++isa) {
          const int64_t in = 96, groups = in / c.group, tiles = (out + 15) / 16, quads = c.group / 4;
          const int64_t low = c.bits == 8 ? quads * 64 : quads / 2 * 64, planes = c.bits == 8 ? 0 : c.bits - 4;
          std::vector<uint8_t> weight(tiles * groups * (32 * (1 + c.affine) + low + planes * quads * 8), 0x11);
          std::vector<float> x(n * in, 0.5f), bias(out, 1.0f), y(2 * n * out), scales(2 * n * groups), rows(in);
          std::vector<float> residuals(n * in);
          std::vector<int8_t> codes(2 * n * in);
          std::vector<int32_t> sums(2 * n * groups);
          const int status = holefill_grouped_linear(x.data(), n, in, weight.data(), out, bias.data(), c.bits, c.group,
                                                     c.affine, codes.data(), sums.data(), scales.data(), residuals.data(), y.data(), out,
                                                     isa, 2);
          const int64_t last = out - 1;
          if (status || holefill_grouped_rows(&last, 1, in, weight.data(), c.bits, c.group, c.affine, rows.data()))
            return std::fprintf(stderr, "no kernel for %d bits\n", c.bits), 1;
        }
  if (holefill_attention_supported())
    for (int64_t dim : {32, 64, 80, 96, 128})
      for (int64_t n : {1, 5})
        for (int64_t total : {n, n + 17}) {
          const int64_t heads = 6, kv_heads = 2;
          std::vector<float> q(n * heads * dim, 0.1f), keys(kv_heads * total * dim, 0.2f), out(q.size());
          std::vector<uint8_t> hidden(n * n);
          for (int64_t i = 0; i < n; ++i)
            for (int64_t j = i + 1; j < n; ++j) hidden[i * n + j] = 1;
          if (holefill_attention(q.data(), heads * dim, keys.data(), keys.data(), total * dim, hidden.data(), out.data(),
                                     n, heads, kv_heads, total, dim, 0.125f, 2))
            return std::fprintf(stderr, "no attention for heads of %d\n", static_cast<int>(dim)), 1;
        }
  return 0;
}
