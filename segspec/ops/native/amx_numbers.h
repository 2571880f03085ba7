// How numbers become bfloat16 for the tiles: arrays of bfloat16 as they are, arrays of float32 as sums of two.
//
// The first part of a float32 is the nearest bfloat16, the second that of what is left: 16 bits of its 24 together. Of
// the four products of parts the smallest, second times second, is left out. An infinite number has no second part, and
// makes a NaN.
#pragma once

#include <immintrin.h>

#include "amx_tiles.h"
#include "tile.h"

namespace segspec {
namespace {

using Bfloat16 = std::uint16_t;  // its bits

// Ones for the first `count` of 16 or 32 lanes.
SEGSPEC_INLINE __mmask16 first_of_16(long count) {
  return static_cast<__mmask16>((1u << smaller(larger(count, 0), 16)) - 1);
}
SEGSPEC_INLINE __mmask32 first_of_32(long count) {
  return static_cast<__mmask32>((std::uint64_t{1} << smaller(larger(count, 0), 32)) - 1);
}

// The part of 16 numbers that part 0 does not hold.
SEGSPEC_INLINE __m512 rest(__m512 numbers) {
  const __m512i rounded = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(numbers));
  return _mm512_sub_ps(numbers, _mm512_castsi512_ps(_mm512_slli_epi32(rounded, 16)));
}

// One part of 32 numbers, one after the other.
SEGSPEC_INLINE __m512i part_of(__m512 low, __m512 high, int part) {
  return (__m512i)(part == 0 ? _mm512_cvtne2ps_pbh(high, low) : _mm512_cvtne2ps_pbh(rest(high), rest(low)));
}

// Two lines of 16 numbers, one after the other, become pairs.
SEGSPEC_INLINE __m512i interleave(__m512i lines) {
  const __m512i halves = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), lines);
  return _mm512_unpacklo_epi16(halves, _mm512_bsrli_epi128(halves, 8));
}

// Exchanges rows and columns of 16 rows of 16 pairs.
SEGSPEC_INLINE void transpose(__m512i (&rows)[16]) {
  __m512i pairs[16], quads[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // quads[i + j], quarter q: column 4 q + j of rows i to i + 3
    quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  constexpr int even = 0x88, odd = 0xdd;  // quarters 0, 2 or 1, 3 of either register
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i upper_even = _mm512_shuffle_i32x4(quads[j], quads[4 + j], even);
    const __m512i upper_odd = _mm512_shuffle_i32x4(quads[j], quads[4 + j], odd);
    const __m512i lower_even = _mm512_shuffle_i32x4(quads[8 + j], quads[12 + j], even);
    const __m512i lower_odd = _mm512_shuffle_i32x4(quads[8 + j], quads[12 + j], odd);
    rows[j] = _mm512_shuffle_i32x4(upper_even, lower_even, even);
    rows[4 + j] = _mm512_shuffle_i32x4(upper_odd, lower_odd, even);
    rows[8 + j] = _mm512_shuffle_i32x4(upper_even, lower_even, odd);
    rows[12 + j] = _mm512_shuffle_i32x4(upper_odd, lower_odd, odd);
  }
}

// A kind of arrays:
//   Number, parts        their numbers; how many bfloat16 stand for one
//   copy<part>           up to 32 numbers, the rest zeros
//   pairs<part>          two lines of 16 numbers, or those in a mask, interleaved; a line that is null is one of zeros
//   write                up to 16 sums as numbers
struct Bfloat16Arrays {
  using Number = Bfloat16;
  static constexpr int parts = 1;

  template <int part>
  SEGSPEC_INLINE static __m512i copy(const Number* from, long count) {
    return _mm512_maskz_loadu_epi16(first_of_32(count), from);
  }
  SEGSPEC_INLINE static __m512i line(const Number* from, __mmask16 lanes) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(from ? lanes : 0, from));
  }
  template <int part>
  SEGSPEC_INLINE static __m512i pairs(const Number* first, const Number* second, __mmask16 lanes) {
    return _mm512_or_si512(line(first, lanes), _mm512_slli_epi32(line(second, lanes), 16));
  }
  SEGSPEC_INLINE static void write(Number* to, long count, __m512 sums) {
    _mm256_mask_storeu_epi16(to, first_of_16(count), (__m256i)_mm512_cvtneps_pbh(sums));
  }
};

struct Float32Arrays {
  using Number = float;
  static constexpr int parts = 2;

  SEGSPEC_INLINE static __m512 line(const Number* from, __mmask16 lanes) {
    return _mm512_maskz_loadu_ps(from ? lanes : 0, from);
  }
  template <int part>
  SEGSPEC_INLINE static __m512i copy(const Number* from, long count) {
    return part_of(line(from, first_of_16(count)), line(from + 16, first_of_16(count - 16)), part);
  }
  template <int part>
  SEGSPEC_INLINE static __m512i pairs(const Number* first, const Number* second, __mmask16 lanes) {
    return interleave(part_of(line(first, lanes), line(second, lanes), part));
  }
  SEGSPEC_INLINE static void write(Number* to, long count, __m512 sums) {
    _mm512_mask_storeu_ps(to, first_of_16(count), sums);
  }
};

}  // namespace
}  // namespace segspec
