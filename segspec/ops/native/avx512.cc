// Kernels for processors with AVX-512 (F, BW, DQ, VL).
#include <immintrin.h>

#include "avx512.h"
#include "convolve.h"
#include "weight_gradient.h"

namespace segspec {
namespace {

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
  SEGSPEC_INLINE static float number(float value) { return value; }
};

}  // namespace

const Kernels avx512_float32 = {convolve<Avx512>, weight_gradient<Avx512>};

}  // namespace segspec
