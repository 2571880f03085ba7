// Kernels for processors with AVX2 and FMA.
#include <immintrin.h>

#include "channels.h"
#include "convolve.h"
#include "weight_gradient.h"
#include "winograd.h"

namespace segspec {
namespace {

struct Avx2 {
  using Number = float;
  using Element = float;
  using Vector = __m256;
  // With a whole register's stores apart: a store of some lanes takes many times as long.
  struct Mask {
    __m256i lanes;
    bool whole;
  };
  static constexpr long lanes = 8, panel = 16, rows = 6, depth = 1;
  using Heights = Rows<1, 2, 3, 4, 5, 6>;

  SEGSPEC_INLINE static Vector zero() { return _mm256_setzero_ps(); }
  SEGSPEC_INLINE static Vector load(const float* from) { return _mm256_loadu_ps(from); }
  SEGSPEC_INLINE static void store(float* to, Vector values) { _mm256_storeu_ps(to, values); }
  SEGSPEC_INLINE static Vector broadcast(const float* from) { return _mm256_broadcast_ss(from); }
  SEGSPEC_INLINE static Vector multiply_add(Vector a, Vector b, Vector sum) { return _mm256_fmadd_ps(a, b, sum); }

  SEGSPEC_INLINE static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  SEGSPEC_INLINE static Vector subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
  SEGSPEC_INLINE static Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
  SEGSPEC_INLINE static Vector scale(float factor, Vector a) { return _mm256_mul_ps(_mm256_set1_ps(factor), a); }
  SEGSPEC_INLINE static Vector scale_add(float factor, Vector a, Vector sum) {
    return _mm256_fmadd_ps(_mm256_set1_ps(factor), a, sum);
  }
  SEGSPEC_INLINE static Mask first(long count) {
    return {_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(smaller(larger(count, 0), lanes))),
                               _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            count >= lanes};
  }
  SEGSPEC_INLINE static Vector load_part(const float* from, Mask part) { return _mm256_maskload_ps(from, part.lanes); }
  SEGSPEC_INLINE static void store_part(float* to, Mask part, Vector values) {
    part.whole ? _mm256_storeu_ps(to, values) : _mm256_maskstore_ps(to, part.lanes, values);
  }
  SEGSPEC_INLINE static void pack(float* to, const float* from, long, long, long count) {
    std::memcpy(to, from, count * sizeof(float));
  }
};

}  // namespace

const Kernels avx2_float32 = {convolve<Avx2>, weight_gradient<Avx2>};
const Kernels avx2_float32_tiles2 = by_tiles<Avx2, float, Scheme<2, 3>>();
const Kernels avx2_float32_tiles4 = by_tiles<Avx2, float, Scheme<4, 3>>();
const Kernels avx2_float32_tiles5 = by_tiles<Avx2, float, Scheme<5, 4>>();
const ChannelKernels avx2_channels_float32 = channel_kernels<Avx2, float>();

}  // namespace segspec
