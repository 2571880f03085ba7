// The product that everything here is made of: a small tile of sums, kept in registers over a long walk.
//
//                    b: a panel of weights or gradients, `panel` elements a line, line after line without gaps
//                    +-----------------+
//                    | depth 0         |
//                    | depth 1         |   |
//      a             | ...             |   v
//    +--------+      +-----------------+
//    | row 0  |      | sums of row 0   |
//    | row 1  | ---> | sums of row 1   |   rows x panel numbers: 14 x 32 with AVX-512, 6 x 16 with AVX2
//    | ...    |      | ...             |
//    +--------+      +-----------------+
//
// One element of `a` is copied into all lanes of a register and multiplied with a line of `b`. The walk through `a` is
// three loops deep, so that a convolution needs no copy of its windows: its taps are steps of the two outer loops.
//
// An *element* is what one lane multiplies at once: a float, or a pair of bfloat16 that are neighbours along the depth.
// An instruction set is a struct with:
//   Number, Element    a number of x, y and g; what a lane multiplies: `depth` Numbers
//   Vector             a register of `lanes` sums
//   lanes, rows, panel, depth, Heights = Rows<1, ..., rows>
//   zero, load, store, broadcast, multiply_add of Vectors
//   Mask, first        a choice of lanes; the first `count` of them, none for a negative count
//   load_part, store_part                      of the sums of a Vector that a Mask chooses
//   pack               interleaves `depth` lines of numbers into one line of elements
#pragma once

#include "problem.h"

namespace segspec {
namespace {  // each instruction set keeps its own copy

struct Walk {
  long outer, outer_step;  // steps count elements of a
  long inner, inner_step;
  long depth, depth_step;
  long row_step;
};

// Where a tile goes: `width` numbers a row, rows `stride` numbers apart; replaced, or added to.
template <class Stored>
struct Target {
  Stored* data;
  long stride, width;
  bool add;
};

template <class Isa, class Stored, int ahead, int rows, int vectors>
void multiply(const Walk& walk, const typename Isa::Element* a, const typename Isa::Element* b,
              const Target<Stored>& target) {
  typename Isa::Mask part[vectors];
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) part[v] = Isa::first(target.width - v * Isa::lanes);
  typename Isa::Vector sums[rows][vectors];
#pragma GCC unroll 16
  for (int row = 0; row < rows; ++row)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sums[row][v] = Isa::zero();
  if (target.add) {
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        sums[row][v] = Isa::load_part(target.data + row * target.stride + v * Isa::lanes, part[v]);
  }

  for (long i = 0; i < walk.outer; ++i) {
    for (long j = 0; j < walk.inner; ++j) {
      const typename Isa::Element* from = a + i * walk.outer_step + j * walk.inner_step;
      for (long k = 0; k < walk.depth; ++k, from += walk.depth_step, b += Isa::panel) {
        typename Isa::Vector line[vectors];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) line[v] = Isa::load(b + v * Isa::lanes);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) if (ahead) __builtin_prefetch(b + ahead * Isa::panel + v * Isa::lanes);
#pragma GCC unroll 16
        for (int row = 0; row < rows; ++row) {
          const typename Isa::Vector copies = Isa::broadcast(from + row * walk.row_step);
#pragma GCC unroll 2
          for (int v = 0; v < vectors; ++v) sums[row][v] = Isa::multiply_add(copies, line[v], sums[row][v]);
        }
      }
    }
  }

#pragma GCC unroll 16
  for (int row = 0; row < rows; ++row)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
      Isa::store_part(target.data + row * target.stride + v * Isa::lanes, part[v], sums[row][v]);
}

template <int... rows>
struct Rows {};

// Fills rows x target.width numbers at the target with the product for that height, and for one or two vectors.
template <class Isa, class Stored, int ahead, int... heights>
void multiply_rows(Rows<heights...>, long rows, const Walk& walk, const typename Isa::Element* a,
                   const typename Isa::Element* b, const Target<Stored>& target) {
  using Product = void (*)(const Walk&, const typename Isa::Element*, const typename Isa::Element*, const Target<Stored>&);
  static constexpr Product narrow[] = {multiply<Isa, Stored, ahead, heights, 1>...};
  static constexpr Product wide[] = {multiply<Isa, Stored, ahead, heights, 2>...};
  (target.width > Isa::lanes ? wide : narrow)[rows - 1](walk, a, b, target);
}

SEGSPEC_INLINE long ceil_div(long a, long b) { return (a + b - 1) / b; }
SEGSPEC_INLINE long smaller(long a, long b) { return a < b ? a : b; }
SEGSPEC_INLINE long larger(long a, long b) { return a > b ? a : b; }

// Where item `number` begins when `total` is split into `parts` nearly equal ones.
SEGSPEC_INLINE long share(long total, long parts, long number) { return total * number / parts; }

}  // namespace
}  // namespace segspec
