// Products of 32 rows and more in the tile registers of AMX; the same bits as the VNNI kernels.
#pragma once

#include <cstdint>

#include "grouped_linear.h"

constexpr int64_t kLeastAmxRows = 32;  // fewer rows are read by the VNNI kernels, whose weights stay in registers

// Rows rounded for AMX lie otherwise in their block: codes [in / group][rows][group].
inline bool by_amx(Isa isa, int64_t n) { return (isa == kAmx || isa == kAmxEmulated) && n >= kLeastAmxRows; }

// Whether this CPU has AMX for bytes and the kernel lets this process use it. Asks once.
bool amx_permitted();

extern const Products kAmxProducts;

// The same source over plain memory instead of tile registers: what a machine without AMX can test.
extern const Products kAmxEmulatedProducts;
