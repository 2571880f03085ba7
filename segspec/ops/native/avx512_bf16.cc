// Kernels for processors with AVX-512 BF16: an instruction multiplies 16 pairs of bfloat16 and adds each to a float32.
#include "channels.h"
#include "convolve.h"
#include "weight_gradient.h"
#include "winograd.h"
#include "avx512.h"

namespace segspec {
namespace {

struct Avx512Bf16 : Avx512Registers {
  using Number = std::uint16_t;
  using Element = std::uint32_t;
  static constexpr long depth = 2;

  SEGSPEC_INLINE static Vector load(const Element* from) { return _mm512_castsi512_ps(_mm512_loadu_si512(from)); }
  SEGSPEC_INLINE static Vector broadcast(const Element* from) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(*from)));
  }
  SEGSPEC_INLINE static Vector multiply_add(Vector a, Vector b, Vector sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
  using Avx512Registers::load_part;
  using Avx512Registers::store_part;
  // Results are never added to bfloat16: the tile asks only for the type's sake.
  SEGSPEC_INLINE static Vector load_part(const Number*, Mask) { return zero(); }
  SEGSPEC_INLINE static void store_part(Number* to, Mask part, Vector values) {
    _mm256_mask_storeu_epi16(to, part, (__m256i)_mm512_cvtneps_pbh(values));
  }

  // 16 numbers as bfloat16 in the low halves of the lanes.
  SEGSPEC_INLINE static __m512i halves(const float* from, Mask part) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(part, from)));
  }
  SEGSPEC_INLINE static __m512i halves(const Number* from, Mask part) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(part, from));
  }
  // Pairs of the numbers of two lines `stride` apart, or of one line and zeros.
  template <class Source>
  SEGSPEC_INLINE static void pack(Element* to, const Source* from, long stride, long lines, long count) {
    for (long k = 0; k < count; k += lanes) {
      const Mask part = first(count - k);
      __m512i pairs = halves(from + k, part);
      if (lines == 2) pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(halves(from + stride + k, part), 16));
      _mm512_mask_storeu_epi32(to + k, part, pairs);
    }
  }
};

// Products of float32 for arrays of bfloat16.
struct Avx512Widened : Avx512 {
  using Avx512::load_part;
  using Avx512::store_part;
  SEGSPEC_INLINE static Vector load_part(const std::uint16_t* from, Mask part) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(Avx512Bf16::halves(from, part), 16));
  }
  SEGSPEC_INLINE static void store_part(std::uint16_t* to, Mask part, Vector values) {
    Avx512Bf16::store_part(to, part, values);
  }
};

}  // namespace

const Kernels avx512_bfloat16 = {convolve<Avx512Bf16>, weight_gradient<Avx512Bf16>};
const Kernels avx512_bfloat16_tiles4 = by_tiles<Avx512Widened, std::uint16_t, Scheme<4, 3>>();
const Kernels avx512_bfloat16_tiles5 = by_tiles<Avx512Widened, std::uint16_t, Scheme<5, 4>>();
const ChannelKernels avx512_channels_bfloat16 = channel_kernels<Avx512Widened, std::uint16_t>();

}  // namespace segspec
