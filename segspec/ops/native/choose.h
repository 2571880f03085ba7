// Which kernels compute a convolution here.
#pragma once

#include "problem.h"

namespace segspec {

// float32: errors of a direct sum in float32, or less. high: for float32 arrays, errors of a few times that.
enum class Precision { float32, high, bfloat16 };

// Null where this processor has none.
const Kernels* choose(const Convolution& shape, Precision precision);

// The same for sums over pixels.
const ChannelKernels* choose_channels(bool bfloat16);

}  // namespace segspec
