// The product that the AMX kernels are made of: 32 x 32 sums in four tiles, kept there over a long walk.
//
//                 b: two tiles side by side
//                 +----6----+----7----+        A step loads four tiles and multiplies four times, so that the loads of
//   a: two  +---+ +---------+---------+        the next step, half as long, hide behind the products of this one.
//   tiles,  | 4 | |    0    |    1    |
//   one     +---+ +---------+---------+        Split numbers: b's first part meets a's second, then a's first, which
//   below   | 5 | |    2    |    3    |        stays for b's second: eight loads for twelve products.
//   the     +---+ +---------+---------+
//   other
#pragma once

#include "amx_numbers.h"

namespace segspec {
namespace {

constexpr long kBlockSums = 4 * kTileSums;  // tiles 0 to 3, one after the other

// Two tiles, and where the next step and the second part find theirs, in numbers.
struct Operand {
  const Bfloat16 *first, *second;
  long row_bytes, step, part;
};

template <int rows, int columns>
SEGSPEC_INLINE void zero_sums() {
  TileUnit::zero<0>();
  if (columns == 2) TileUnit::zero<1>();
  if (rows == 2) TileUnit::zero<2>();
  if (rows == 2 && columns == 2) TileUnit::zero<3>();
}

template <int rows, int columns>
SEGSPEC_INLINE void load_sums(const float* from) {
  TileUnit::load<0>(from, kTileBytes);
  if (columns == 2) TileUnit::load<1>(from + kTileSums, kTileBytes);
  if (rows == 2) TileUnit::load<2>(from + 2 * kTileSums, kTileBytes);
  if (rows == 2 && columns == 2) TileUnit::load<3>(from + 3 * kTileSums, kTileBytes);
}

template <int rows, int columns>
SEGSPEC_INLINE void store_sums(float* to) {
  TileUnit::store<0>(to, kTileBytes);
  if (columns == 2) TileUnit::store<1>(to + kTileSums, kTileBytes);
  if (rows == 2) TileUnit::store<2>(to + 2 * kTileSums, kTileBytes);
  if (rows == 2 && columns == 2) TileUnit::store<3>(to + 3 * kTileSums, kTileBytes);
}

template <int rows>
SEGSPEC_INLINE void load_a(const Operand& a, long place) {
  TileUnit::load<4>(a.first + place, a.row_bytes);
  if (rows == 2) TileUnit::load<5>(a.second + place, a.row_bytes);
}

template <int columns>
SEGSPEC_INLINE void load_b(const Operand& b, long place) {
  TileUnit::load<6>(b.first + place, b.row_bytes);
  if (columns == 2) TileUnit::load<7>(b.second + place, b.row_bytes);
}

template <int rows, int columns>
SEGSPEC_INLINE void multiply_tiles() {
  TileUnit::multiply_add<0, 4, 6>();
  if (columns == 2) TileUnit::multiply_add<1, 4, 7>();
  if (rows == 2) TileUnit::multiply_add<2, 5, 6>();
  if (rows == 2 && columns == 2) TileUnit::multiply_add<3, 5, 7>();
}

// Adds the products of so many steps to the sums.
template <int parts, int rows, int columns>
SEGSPEC_INLINE void multiply_steps(long steps, const Operand& a, const Operand& b) {
  for (long step = 0; step < steps; ++step) {
    if (parts == 2) {
      load_b<columns>(b, step * b.step);
      load_a<rows>(a, step * a.step + a.part);
      multiply_tiles<rows, columns>();
      load_a<rows>(a, step * a.step);
      multiply_tiles<rows, columns>();
      load_b<columns>(b, step * b.step + b.part);
      multiply_tiles<rows, columns>();
    } else {
      load_b<columns>(b, step * b.step);
      load_a<rows>(a, step * a.step);
      multiply_tiles<rows, columns>();
    }
  }
}

}  // namespace
}  // namespace segspec
