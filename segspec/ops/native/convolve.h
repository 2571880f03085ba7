// The forward pass, which is also the input gradient: see problem.h. One template for all instruction sets.
//
// Weights are packed once a call, so that a tile reads them line after line:
//
//   [group][panel of outputs][tap i][tap j][element of inputs][panel]      (a pair: two inputs beside each other)
//
// A task stages a block of the input, see plane.h, and runs panels of outputs over it.
#pragma once

#include "plane.h"

namespace segspec {
namespace {

constexpr int kAhead = 8;  // lines of packed weights, which come from the second cache, that are asked for in advance

// Packs weights (depth, outputs), lines `stride` apart, into elements (depth / 2 or depth, panel), the rest zeros.
template <class Isa>
void pack_lines(typename Isa::Element* packed, const float* from, long stride, long depth, long outputs) {
  for (long k = 0; k < depth; k += Isa::depth, packed += Isa::panel) {
    if (outputs < Isa::panel) std::memset(packed, 0, Isa::panel * sizeof(*packed));
    Isa::pack(packed, from + k * stride, stride, smaller(Isa::depth, depth - k), outputs);
  }
}

// The same for weights (outputs, depth), turned over in blocks that stay in the first cache.
template <class Isa>
void pack_columns(typename Isa::Element* packed, const float* from, long stride, long depth, long outputs) {
  constexpr long block = 16;
  float turned[block * Isa::panel];
  for (long begin = 0; begin < depth; begin += block, packed += block / Isa::depth * Isa::panel) {
    const long lines = smaller(block, depth - begin);
    if (lines == block) {
      for (long output = 0; output < outputs; ++output)
#pragma GCC unroll 16
        for (long k = 0; k < block; ++k) turned[k * Isa::panel + output] = from[output * stride + begin + k];
    } else {
      for (long output = 0; output < outputs; ++output)
        for (long k = 0; k < lines; ++k) turned[k * Isa::panel + output] = from[output * stride + begin + k];
    }
    pack_lines<Isa>(packed, turned, Isa::panel, lines, outputs);
  }
}

// Packs the weights of one panel, `count` outputs from `first` on, and one row of taps.
template <class Isa>
void pack_taps(const Convolution& shape, const float* w, long group, long first, long count, long tap_row,
               typename Isa::Element* packed) {
  const long inputs = shape.group_inputs();
  for (long tap_column = 0; tap_column < shape.kernel.width; ++tap_column) {
    const long tap = tap_row * shape.kernel.width + tap_column;
    if (shape.turned) {
      const float* from =
          w + ((shape.taps() - 1 - tap) * shape.group_outputs() + first) * shape.in_channels + group * inputs;
      pack_columns<Isa>(packed, from, shape.in_channels, inputs, count);
    } else {
      const float* from = w + tap * inputs * shape.out_channels + group * shape.group_outputs() + first;
      pack_lines<Isa>(packed, from, shape.out_channels, inputs, count);
    }
    packed += ceil_div(inputs, Isa::depth) * Isa::panel;
  }
}

template <class Isa>
void convolve(const Threads& threads, const Convolution& shape, const void* x, const float* w, void* y) {
  using Element = typename Isa::Element;
  using Number = typename Isa::Number;
  const long inputs = ceil_div(shape.group_inputs(), Isa::depth);  // in elements
  const long panels = ceil_div(shape.group_outputs(), Isa::panel);
  const long tap_row_size = shape.kernel.width * inputs * Isa::panel, panel_size = shape.kernel.height * tap_row_size;

  const Scratch packing(shape.groups * panels * panel_size * sizeof(Element));
  Element* const packed = packing.as<Element>();
  threads.each(shape.groups * panels * shape.kernel.height, [&](long task) {
    const long tap_row = task % shape.kernel.height, panel = task / shape.kernel.height % panels;
    const long group = task / shape.kernel.height / panels, first = panel * Isa::panel;
    pack_taps<Isa>(shape, w, group, first, smaller(Isa::panel, shape.group_outputs() - first), tap_row,
                   packed + task * tap_row_size);
  });

  const Cut cut = cut_plane(shape, inputs * sizeof(Element), Isa::rows);
  const long parts = smaller(panels, ceil_div(kTasks, cut.count(shape) * shape.groups));
  threads.each(cut.count(shape) * shape.groups * parts, [&](long task) {
    const long part = task % parts, group = task / parts % shape.groups;
    const Block block = cut.block(shape, task / parts / shape.groups);
    const Extent seen = block.seen(shape);
    const Scratch staging(seen.height * seen.width * inputs * sizeof(Element));
    Element* const staged = staging.as<Element>();
    stage(shape, block, group, static_cast<const Number*>(x), inputs * Isa::depth, reinterpret_cast<Number*>(staged));

    const bool run = shape.dilation.width == 1;  // the taps of a row follow each other
    const Walk walk = {shape.kernel.height,
                       shape.dilation.height * seen.width * inputs,
                       run ? 1 : shape.kernel.width,
                       shape.dilation.width * inputs,
                       run ? shape.kernel.width * inputs : inputs,
                       1,
                       shape.stride.width * inputs};
    const long tiles = ceil_div(block.width, Isa::rows);
    for (long panel = share(panels, parts, part); panel < share(panels, parts, part + 1); ++panel) {
      const long first = panel * Isa::panel, width = smaller(Isa::panel, shape.group_outputs() - first);
      for (long row = 0; row < block.height; ++row) {
        const long pixel = (block.image * shape.output.height + block.top + row) * shape.output.width + block.left;
        Number* const line = static_cast<Number*>(y) + pixel * shape.out_channels + group * shape.group_outputs() + first;
        const Element* const window = staged + row * shape.stride.height * seen.width * inputs;
        for (long tile = 0; tile < tiles; ++tile) {
          const long begin = share(block.width, tiles, tile), end = share(block.width, tiles, tile + 1);
          multiply_rows<Isa, Number, kAhead>(typename Isa::Heights{}, end - begin, walk,
                                     window + begin * shape.stride.width * inputs,
                                     packed + (group * panels + panel) * panel_size,
                                     {line + begin * shape.out_channels, shape.out_channels, width, false});
        }
      }
    }
  });
}

}  // namespace
}  // namespace segspec
