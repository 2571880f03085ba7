// Kernels for processors with AVX-512 (F, BW, DQ, VL).
#include "avx512.h"
#include "channels.h"
#include "convolve.h"
#include "weight_gradient.h"
#include "winograd.h"

namespace segspec {
const Kernels avx512_float32 = {convolve<Avx512>, weight_gradient<Avx512>};
const Kernels avx512_float32_places4 = with_places<Avx512, float, 4>();
const Kernels avx512_float32_places6 = with_places<Avx512, float, 6>();
const ChannelKernels avx512_channels_float32 = channel_kernels<Avx512, float>();

}  // namespace segspec
