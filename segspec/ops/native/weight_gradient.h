// The weight gradient: see problem.h. One template for all instruction sets.
//
// The depth of its products is the pixels of the image. A task takes some blocks of the plane and some panels of outputs;
// it stages the input of a block as plane.h draws, and the gradients of one panel line after line:
//
//   staged gradients: [row][column][panel]            (a pair: the gradients of two neighbouring columns)
//
// A row of the tile is an input channel at a tap: for tap (i, j) the walk goes through the staged input from line i d,
// column j d on. Without dilation the taps of one row and their inputs are one run of kernel width x inputs rows.
// For pairs each staged column holds, beside each of its numbers, that of the next window's: [column][input][2].
//
// Where the plane is shared between tasks, each part sums into weights of its own, and those are added in a fixed order:
// the result depends neither on the number of threads nor on which comes first.
#pragma once

#include "plane.h"

namespace segspec {
namespace {

constexpr long kSumBytes = 256 << 10;   // of the sums that a task adds to: a part of the second cache
constexpr long kPartialBytes = 8 << 20; // of the sums of all parts
constexpr long kDepth = 128;            // of a product, in elements: what it reads of `b` stays in the first cache

// How the work is shared: `parts` of the plane times `chunks` of the panels.
struct Split {
  long parts, chunks;
};

inline Split split_work(long panels, long blocks, long panel_bytes, long all_bytes) {
  const long chunks = ceil_div(panels, larger(1, kSumBytes / panel_bytes));
  const long memory = larger(1, kPartialBytes / all_bytes);
  return {smaller(smaller(blocks, memory), ceil_div(kTasks, chunks)), chunks};
}

// The input of a block: for pairs, each number beside the one that the next window sees in its place.
template <class Isa>
void stage_windows(const Convolution& shape, const Block& block, long group, const void* x,
                   typename Isa::Element* staged) {
  using Number = typename Isa::Number;
  const long inputs = shape.group_inputs();
  if constexpr (Isa::depth == 1) {
    stage(shape, block, group, static_cast<const Number*>(x), inputs, staged);
  } else {
    const Extent seen = block.seen(shape);
    const long line_size = seen.width * inputs, next = shape.stride.width * inputs;
    const Scratch single(seen.height * line_size * sizeof(Number));
    Number* const numbers = single.as<Number>();
    stage(shape, block, group, static_cast<const Number*>(x), inputs, numbers);
    for (long line = 0; line < seen.height; ++line) {
      const Number* const from = numbers + line * line_size;
      const long both = larger(0, line_size - next);
      Isa::pack(staged + line * line_size, from, next, 2, both);
      Isa::pack(staged + line * line_size + both, from + both, next, 1, line_size - both);
    }
  }
}

// The gradients of one panel over a block.
template <class Isa>
void pack_gradients(const Convolution& shape, const Block& block, long channel, long width, const void* g,
                    typename Isa::Element* packed) {
  const long outputs = shape.out_channels;
  for (long row = 0; row < block.height; ++row) {
    const long pixel = (block.image * shape.output.height + block.top + row) * shape.output.width + block.left;
    const typename Isa::Number* const line = static_cast<const typename Isa::Number*>(g) + pixel * outputs + channel;
    for (long column = 0; column < block.width; column += Isa::depth, packed += Isa::panel) {
      if (width < Isa::panel) std::memset(packed, 0, Isa::panel * sizeof(*packed));
      Isa::pack(packed, line + column * outputs, outputs, smaller(Isa::depth, block.width - column), width);
    }
  }
}

// Adds a block's part to the sums of one panel, which begin at `sums`; `add` is false for the first block.
template <class Isa>
void add_products(const Convolution& shape, const Block& block, const typename Isa::Element* staged,
                  const typename Isa::Element* gradients, float* sums, long width, bool add) {
  const long inputs = shape.group_inputs(), columns = block.seen(shape).width;
  const bool run = shape.dilation.width == 1;
  const long rows = run ? shape.kernel.width * inputs : inputs, tiles = ceil_div(rows, Isa::rows);
  const long steps = ceil_div(block.width, Isa::depth), strips = ceil_div(block.height * steps, kDepth);
  const long line = shape.stride.height * columns * inputs;
  for (long strip = 0; strip < strips; ++strip, add = true) {
    const long top = share(block.height, strips, strip);
    const typename Isa::Element* const b = gradients + top * steps * Isa::panel;
    const Walk walk = {share(block.height, strips, strip + 1) - top,
                       line,
                       1,
                       0,
                       steps,
                       Isa::depth * shape.stride.width * inputs,
                       1};
    for (long i = 0; i < shape.kernel.height; ++i) {
      for (long j = 0; j < (run ? 1 : shape.kernel.width); ++j) {
        const typename Isa::Element* const a =
            staged + top * line + (i * shape.dilation.height * columns + j * shape.dilation.width) * inputs;
        float* const to = sums + (i * shape.kernel.width + j) * inputs * shape.out_channels;
        for (long tile = 0; tile < tiles; ++tile) {
          const long begin = share(rows, tiles, tile), end = share(rows, tiles, tile + 1);
          multiply_rows<Isa, float, 0>(typename Isa::Heights{}, end - begin, walk, a + begin, b,
                                       {to + begin * shape.out_channels, shape.out_channels, width, add});
        }
      }
    }
  }
}

template <class Isa>
void weight_gradient(const Threads& threads, const Convolution& shape, const void* x, const void* g, float* dw) {
  using Element = typename Isa::Element;
  const long inputs = shape.group_inputs(), outputs = shape.group_outputs();
  const long panels = ceil_div(outputs, Isa::panel), size = shape.taps() * inputs * shape.out_channels;
  const Cut cut = cut_plane(shape, inputs * sizeof(Element), Isa::rows);
  const long blocks = cut.count(shape);
  const Split split = split_work(panels, blocks, shape.taps() * inputs * Isa::panel * sizeof(float), size * sizeof(float));

  const Scratch others((split.parts - 1) * size * sizeof(float));
  threads.each(split.parts * shape.groups * split.chunks, [&](long task) {
    const long chunk = task % split.chunks, group = task / split.chunks % shape.groups;
    const long part = task / split.chunks / shape.groups, first_block = share(blocks, split.parts, part);
    float* const sums = part == 0 ? dw : others.as<float>() + (part - 1) * size;
    for (long number = first_block; number < share(blocks, split.parts, part + 1); ++number) {
      const Block block = cut.block(shape, number);
      const Extent seen = block.seen(shape);
      const Scratch staging(seen.height * seen.width * inputs * sizeof(Element));
      const Scratch packing(block.height * ceil_div(block.width, Isa::depth) * Isa::panel * sizeof(Element));
      stage_windows<Isa>(shape, block, group, x, staging.as<Element>());
      for (long panel = share(panels, split.chunks, chunk); panel < share(panels, split.chunks, chunk + 1); ++panel) {
        const long first = group * outputs + panel * Isa::panel;
        const long width = smaller(Isa::panel, outputs - panel * Isa::panel);
        pack_gradients<Isa>(shape, block, first, width, g, packing.as<Element>());
        add_products<Isa>(shape, block, staging.as<Element>(), packing.as<Element>(), sums + first, width,
                          number > first_block);
      }
    }
  });

  threads.each(split.parts == 1 ? 0 : kTasks, [&](long slice) {
    for (long part = 1; part < split.parts; ++part) {
      const float* const from = others.as<float>() + (part - 1) * size;
      for (long k = share(size, kTasks, slice); k < share(size, kTasks, slice + 1); ++k) dw[k] += from[k];
    }
  });
}

}  // namespace
}  // namespace segspec
