// Every format over awkward sizes, with exactly sized heap buffers: AddressSanitizer and UBSan must stay silent.
#include "../../kernels/native/grouped_linear.cpp"

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
          std::vector<float> x(n * in, 0.5f), bias(out, 1.0f), y(n * out), scales(n), rows(in);
          std::vector<int8_t> codes(n * in);
          std::vector<int32_t> sums(n * groups);
          const int status = holefill_grouped_linear(x.data(), n, in, weight.data(), out, bias.data(), c.bits, c.group,
                                                     c.affine, codes.data(), sums.data(), scales.data(), y.data(), out,
                                                     isa, 2);
          const int64_t last = out - 1;
          if (status || holefill_grouped_rows(&last, 1, in, weight.data(), c.bits, c.group, c.affine, rows.data()))
            return std::fprintf(stderr, "no kernel for %d bits\n", c.bits), 1;
        }
  return 0;
}
