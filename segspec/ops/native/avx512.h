// What all kernels for AVX-512 share: registers of 16 sums, 14 rows of two of them, and masks for what is left over.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "tile.h"

namespace segspec {
namespace {

struct Avx512Registers {
  using Vector = __m512;
  using Mask = __mmask16;
  static constexpr long lanes = 16, panel = 32, rows = 14;
  using Heights = Rows<1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14>;

  SEGSPEC_INLINE static Mask first(long count) {
    return static_cast<Mask>((1u << smaller(larger(count, 0), lanes)) - 1);
  }
  SEGSPEC_INLINE static Vector zero() { return _mm512_setzero_ps(); }
  SEGSPEC_INLINE static void store(float* to, Vector values) { _mm512_storeu_ps(to, values); }
  SEGSPEC_INLINE static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  SEGSPEC_INLINE static Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
  SEGSPEC_INLINE static Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  SEGSPEC_INLINE static Vector scale(float factor, Vector a) { return _mm512_mul_ps(_mm512_set1_ps(factor), a); }
  SEGSPEC_INLINE static Vector scale_add(float factor, Vector a, Vector sum) {
    return _mm512_fmadd_ps(_mm512_set1_ps(factor), a, sum);
  }
  SEGSPEC_INLINE static Vector load_part(const float* from, Mask part) { return _mm512_maskz_loadu_ps(part, from); }
  SEGSPEC_INLINE static void store_part(float* to, Mask part, Vector values) {
    _mm512_mask_storeu_ps(to, part, values);
  }
};

// Products of float32.
struct Avx512 : Avx512Registers {
  using Number = float;
  using Element = float;
  static constexpr long depth = 1;

  SEGSPEC_INLINE static Vector load(const float* from) { return _mm512_loadu_ps(from); }
  SEGSPEC_INLINE static Vector broadcast(const float* from) { return _mm512_set1_ps(*from); }
  SEGSPEC_INLINE static Vector multiply_add(Vector a, Vector b, Vector sum) { return _mm512_fmadd_ps(a, b, sum); }
  SEGSPEC_INLINE static void pack(float* to, const float* from, long, long, long count) {
    std::memcpy(to, from, count * sizeof(float));
  }
};

}  // namespace
}  // namespace segspec
