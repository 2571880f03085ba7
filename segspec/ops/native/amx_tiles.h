// The tile registers of AMX, and the four things done with them.
//
//   a: 16 rows of 16 pairs       b: 16 rows of 16 pairs         sums: 16 rows of 16 float32
//   +----------------+           +-----------------------+      sums[m][n] += sum over k of a[m][k][0] b[k][n][0]
//   | row m: pair k  |           | row k: pair for sum n |                               + a[m][k][1] b[k][n][1]
//   +----------------+           +-----------------------+
//
// A pair is two bfloat16 that follow each other. Of a, they are neighbours along the depth of the sum; of b too: two
// lines of a matrix (depth, 16) stand interleaved in a row. Every tile here is full: 16 rows of 64 bytes.
//
// SEGSPEC_EMULATE_AMX replaces the instructions by what they are defined to do, for processors without them. The real
// ones are written in assembly, as compilers do not agree on intrinsics for a register whose number is a constant.
#pragma once

#include "problem.h"

namespace segspec {
namespace {

constexpr long kTileRows = 16, kTileBytes = 64;
constexpr long kTileNumbers = 512;  // bfloat16 in a tile
constexpr long kTileSums = 256;     // float32 in a tile

// What LDTILECFG reads.
struct alignas(64) TileShapes {
  std::uint8_t palette, start_row, reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};

#ifndef SEGSPEC_EMULATE_AMX

struct TileUnit {
  SEGSPEC_INLINE static void configure(const TileShapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes)); }
  SEGSPEC_INLINE static void release() { asm volatile("tilerelease"); }

  template <int tile>
  SEGSPEC_INLINE static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(tile));
  }
  template <int tile>
  SEGSPEC_INLINE static void load(const void* from, long row_bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(tile) : "memory");
  }
  template <int tile>
  SEGSPEC_INLINE static void store(void* to, long row_bytes) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(tile) : "memory");
  }
  template <int sums, int a, int b>
  SEGSPEC_INLINE static void multiply_add() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(a), "i"(b));
  }
};

#else

// Each check below is one that the processor makes; it would raise an exception.
class TileUnit {
 public:
  static void configure(const TileShapes& shapes) {
    check(shapes.palette == 1 && shapes.start_row == 0);
    for (const std::uint8_t byte : shapes.reserved) check(byte == 0);
    for (int tile = 0; tile < 16; ++tile) {
      const int rows = shapes.rows[tile], row_bytes = shapes.row_bytes[tile];
      check(tile < 8 ? rows <= kTileRows && row_bytes <= kTileBytes : rows == 0 && row_bytes == 0);
      check((rows == 0) == (row_bytes == 0));
      if (tile < 8) registers[tile] = {rows, row_bytes, {}};
    }
    configured = true;
  }
  static void release() { configured = false; }

  template <int tile>
  static void zero() {
    Register& to = used(tile);
    to = {to.rows, to.row_bytes, {}};
  }
  template <int tile>
  static void load(const void* from, long row_bytes) {
    Register& to = used(tile);
    to = {to.rows, to.row_bytes, {}};
    for (int row = 0; row < to.rows; ++row)
      __builtin_memcpy(to.data[row], static_cast<const char*>(from) + row * row_bytes, to.row_bytes);
  }
  template <int tile>
  static void store(void* to, long row_bytes) {
    const Register& from = used(tile);
    for (int row = 0; row < from.rows; ++row)
      __builtin_memcpy(static_cast<char*>(to) + row * row_bytes, from.data[row], from.row_bytes);
  }
  // The sums over the first and over the second numbers of the pairs are formed apart, and added at the end.
  template <int sums, int a, int b>
  static void multiply_add() {
    Register &to = used(sums), &left = used(a), &right = used(b);
    check(sums != a && sums != b && a != b && to.row_bytes % 4 == 0 && left.row_bytes % 4 == 0);
    check(to.rows == left.rows && to.row_bytes == right.row_bytes && left.row_bytes / 4 == right.rows);
    for (int m = 0; m < to.rows; ++m) {
      float found[kTileRows], parts[2][kTileRows] = {};
      for (int k = 0; k < right.rows; ++k)
        for (int n = 0; n < to.row_bytes / 4; ++n)
          for (int i = 0; i < 2; ++i) parts[i][n] += number(left.data[m], 2 * k + i) * number(right.data[k], 2 * n + i);
      __builtin_memcpy(found, to.data[m], to.row_bytes);
      for (int n = 0; n < to.row_bytes / 4; ++n) found[n] += parts[0][n] + parts[1][n];
      __builtin_memcpy(to.data[m], found, to.row_bytes);
    }
  }

 private:
  struct Register {
    int rows, row_bytes;
    unsigned char data[kTileRows][kTileBytes];
  };

  static void check(bool allowed) {
    if (!allowed) __builtin_trap();
  }
  static Register& used(int tile) {
    check(configured && registers[tile].rows > 0);
    return registers[tile];
  }
  static float number(const unsigned char* row, int place) {
    const std::uint32_t bits = static_cast<std::uint32_t>(row[2 * place] | row[2 * place + 1] << 8) << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
  }

  static inline thread_local Register registers[8];
  static inline thread_local bool configured = false;
};

#endif

// The tiles are set up as long as this lives; a thread of XLA's pool is left as it was found.
class Tiles {
 public:
  Tiles() {
    TileShapes shapes = {};
    shapes.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      shapes.rows[tile] = kTileRows;
      shapes.row_bytes[tile] = kTileBytes;
    }
    TileUnit::configure(shapes);
  }
  ~Tiles() { TileUnit::release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace
}  // namespace segspec
