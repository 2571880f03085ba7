// Both passes by tiles of one scheme, for arrays of one type.
#pragma once

#include "winograd_convolve.h"
#include "winograd_gradient.h"

namespace segspec {
namespace {

template <class Isa, class Number, class Scheme>
constexpr Kernels by_tiles() {
  return {[](const Threads& threads, const Convolution& shape, const void* x, const float* w, void* y) {
            convolve_by_tiles<Isa, Number, Scheme>(threads, shape, static_cast<const Number*>(x), w,
                                                   static_cast<Number*>(y));
          },
          [](const Threads& threads, const Convolution& shape, const void* x, const void* g, float* dw) {
            weight_gradient_by_tiles<Isa, Number, Scheme>(threads, shape, static_cast<const Number*>(x),
                                                          static_cast<const Number*>(g), dw);
          }};
}

}  // namespace
}  // namespace segspec
