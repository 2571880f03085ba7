// What a convolution is, what is summed over pixels, and what a set of kernels offers. Plain data; no instruction set.
//
// Arrays are dense and row-major: x (batch, height, width, channels), w (kernel height, kernel width, channels / groups,
// outputs), y (batch, out height, out width, outputs). With g the gradient that arrives at y:
//
//   forward          y[n, a, b, o]  = sum over i, j, c of  x[n, a s + i d - p, b s + j d - p, c] w[i, j, c, o]
//   input gradient   dx             = the forward pass over g with w turned by 180 degrees and its c and o exchanged
//   weight gradient  dw[i, j, c, o] = sum over n, a, b of  x[n, a s + i d - p, b s + j d - p, c] g[n, a, b, o]
//
// x, y and g are float32 or bfloat16, as the kernels say; w and dw are float32; sums are formed in float32.
//
// For batch normalisation an array is (pixels, channels), whatever its axes before the last. With m and v the mean and the
// biased variance of a channel, i = 1 / sqrt(v + eps), n = (x - m) i, and a mean over all pixels:
//
//   forward          y = scale n + shift
//   backward         dx = scale i (g - mean(g) - n mean(g n)),   dscale = sum(g n),   dshift = sum(g)
#pragma once

#include <cstdint>

#include "parallel.h"

namespace segspec {

// Sizes along the height and the width.
struct Extent {
  long height, width;
};

struct Convolution {
  long batch;
  Extent input, output, kernel, stride, dilation;
  Extent pad;  // above and left, perhaps negative; below and right it is what the sizes leave
  long in_channels, out_channels, groups;
  bool turned;  // w is that of the forward pass: (kernel height, kernel width, outputs / groups, inputs)

  long group_inputs() const { return in_channels / groups; }
  long group_outputs() const { return out_channels / groups; }
  long taps() const { return kernel.height * kernel.width; }
};

struct Kernels {
  void (*convolve)(const Threads& threads, const Convolution& shape, const void* x, const float* w, void* y);
  void (*weight_gradient)(const Threads& threads, const Convolution& shape, const void* x, const void* g, float* dw);
};

struct Channels {
  long pixels, channels;
};

// What a batch normalisation has used, a number a channel.
struct Normalization {
  const float *mean, *inverse, *scale;
};

struct ChannelKernels {
  void (*sum)(const Threads& threads, const Channels& shape, const void* x, float* sums);
  void (*moments)(const Threads& threads, const Channels& shape, const void* x, float* mean, float* variance);
  void (*normalize_backward)(const Threads& threads, const Channels& shape, const void* x, const void* g,
                             const Normalization& by, void* dx, float* dscale, float* dshift);
};

// For float32 arrays: a product a tap, or the fewer products of toom_cook.h, for tiles of 2, 4 or 5 outputs either way.
extern const Kernels avx2_float32, avx2_float32_tiles2, avx2_float32_tiles4, avx2_float32_tiles5;
extern const Kernels avx512_float32, avx512_float32_tiles2, avx512_float32_tiles4, avx512_float32_tiles5;
// For float32 arrays; each number becomes a sum of two bfloat16, of whose four products three are taken.
extern const Kernels amx_split;
// For bfloat16 arrays, with bfloat16 products; in tiles, with float32 products.
extern const Kernels avx512_bfloat16, avx512_bfloat16_tiles4, avx512_bfloat16_tiles5, amx_bfloat16;

extern const ChannelKernels avx2_channels_float32, avx512_channels_float32, avx512_channels_bfloat16;

}  // namespace segspec
