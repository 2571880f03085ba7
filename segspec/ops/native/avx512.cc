// Kernels for processors with AVX-512 (F, BW, DQ, VL).
#include "avx512.h"
#include "channels.h"
#include "convolve.h"
#include "weight_gradient.h"
#include "winograd.h"

namespace segspec {
const Kernels avx512_float32 = {convolve<Avx512>, weight_gradient<Avx512>};
const Kernels avx512_float32_tiles2 = by_tiles<Avx512, float, Scheme<2, 3>>();
const Kernels avx512_float32_tiles4 = by_tiles<Avx512, float, Scheme<4, 3>>();
const Kernels avx512_float32_tiles5 = by_tiles<Avx512, float, Scheme<5, 4>>();
const ChannelKernels avx512_channels_float32 = channel_kernels<Avx512, float>();

}  // namespace segspec
