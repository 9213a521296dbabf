// The tile registers themselves. Never run so far on a CPU that has them: amx_trial.cpp compares and times this against
// the VNNI kernels at load, and it is used only where it is equal and faster.

#include "amx.h"

#if defined(__x86_64__) && defined(__linux__) && __has_include(<amxint8intrin.h>)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AMX __attribute__((target("amx-tile,amx-int8,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")))

#include "amx_kernel.h"

namespace {

constexpr int kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl's ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
constexpr unsigned kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;  // CPUID 7.0 EDX

struct alignas(64) Config {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};  // a row of each tile register
  uint8_t rows[16] = {};
};

class Tiles {
 public:
  AMX Tiles(int rows, int group) {
    Config config;
    config.rows[0] = config.rows[1] = static_cast<uint8_t>(rows);
    config.rows[2] = static_cast<uint8_t>(group / 4);
    config.bytes[0] = config.bytes[2] = 64;
    config.bytes[1] = static_cast<uint16_t>(group);
    // gcc 12 declares 8 bytes of the 64 as read, and drops the stores to the others.
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  AMX ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  AMX void multiply(const int8_t* x, int group, const uint8_t* codes, int32_t* sums) {
    asm volatile("" : : : "memory");  // nor does it know that a tile load reads memory
    _tile_zero(0);
    _tile_loadd(1, x, group);
    _tile_loadd(2, codes, 64);
    _tile_dpbsud(0, 1, 2);
    _tile_stored(0, sums, 64);
  }
};

}  // namespace

bool amx_permitted() {
  static const bool permitted = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (kAmxTile | kAmxInt8)) != (kAmxTile | kAmxInt8)) return false;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;  // for all threads of the process
  }();
  return permitted;
}

const Products kAmxProducts = amx_products<Tiles>();

#else

bool amx_permitted() { return false; }

const Products kAmxProducts = {};

#endif
