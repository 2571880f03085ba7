// What a convolution is, and what a set of kernels offers. Plain data; no instruction set.
//
// Arrays are dense and row-major: x (batch, height, width, channels), w (kernel height, kernel width, channels / groups,
// outputs), y (batch, out height, out width, outputs). With g the gradient that arrives at y:
//
//   forward          y[n, a, b, o]  = sum over i, j, c of  x[n, a s + i d - p, b s + j d - p, c] w[i, j, c, o]
//   input gradient   dx             = the forward pass over g with w turned by 180 degrees and its c and o exchanged
//   weight gradient  dw[i, j, c, o] = sum over n, a, b of  x[n, a s + i d - p, b s + j d - p, c] g[n, a, b, o]
//
// x, y and g are float32 or bfloat16, as the kernels say; w and dw are float32; sums are formed in float32.
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

// For float32 arrays: a product a tap, or the fewer products of toom_cook.h.
extern const Kernels avx2_float32, avx2_float32_places4, avx2_float32_places6;
extern const Kernels avx512_float32, avx512_float32_places4, avx512_float32_places6;
// For float32 arrays; each number becomes a sum of two bfloat16, of whose four products three are taken.
extern const Kernels amx_split;
// For bfloat16 arrays, with bfloat16 products; by places, with float32 products.
extern const Kernels avx512_bfloat16, avx512_bfloat16_places6, amx_bfloat16;

}  // namespace segspec
