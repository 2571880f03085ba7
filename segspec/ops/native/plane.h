// An image plane cut into blocks, and the copying of a block's input.
//
//   staged block: lines of (columns x inputs)      tile: `rows` neighbouring outputs of one image row
//   +----------------------------------+
//   | 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0  |            the window of output (a, b) begins at line a s, column b s;
//   | 0 x x x x x x x x x x x x x x x  |            its tap (i, j) lies i d lines and j d columns further
//   | 0 x x x x x x x x x x x x x x x  |
//   +----------------------------------+            without dilation (j, input) is one run of numbers
#pragma once

#include <cstring>

#include "tile.h"

namespace segspec {
namespace {

constexpr long kStagedBytes = 384 << 10;  // of a block's input: a part of the second cache
constexpr long kTasks = 16;               // enough for an even share on several threads
constexpr long kThinnest = 4;             // rows of a block: those at its border are read twice

// A rectangle of the output plane of one image.
struct Block {
  long image, top, left, height, width;

  // The input that its windows see.
  Extent seen(const Convolution& shape) const {
    return {(height - 1) * shape.stride.height + (shape.kernel.height - 1) * shape.dilation.height + 1,
            (width - 1) * shape.stride.width + (shape.kernel.width - 1) * shape.dilation.width + 1};
  }
};

// How the output planes of a batch are cut: into blocks of nearly equal size.
struct Cut {
  long down, across;

  long count(const Convolution& shape) const { return shape.batch * down * across; }

  Block block(const Convolution& shape, long number) const {
    const long column = number % across, row = number / across % down;
    const long top = share(shape.output.height, down, row), left = share(shape.output.width, across, column);
    return {number / (down * across), top, left, share(shape.output.height, down, row + 1) - top,
            share(shape.output.width, across, column + 1) - left};
  }
};

// Blocks whose input, at so many bytes a pixel, is not too large for the cache; enough of them for all threads.
inline Cut cut_plane(const Convolution& shape, long pixel_bytes, long tile_rows) {
  const Extent out = shape.output;
  const long across = ceil_div(out.width, 8 * tile_rows);
  Block block = {0, 0, 0, out.height, ceil_div(out.width, across)};
  const auto bytes = [&] { return block.seen(shape).height * block.seen(shape).width * pixel_bytes; };
  while (block.height > 1 && bytes() > kStagedBytes) block.height = ceil_div(block.height, 2);
  const long wanted = ceil_div(kTasks, shape.batch * across), thinnest = ceil_div(out.height, kThinnest);
  return {larger(ceil_div(out.height, block.height), smaller(wanted, thinnest)), across};
}

// Copies the input of a block, one group's channels, with zeros outside the image. A pixel takes `pitch` numbers.
template <class Number>
void stage(const Convolution& shape, const Block& block, long group, const Number* x, long pitch, Number* staged) {
  const long inputs = shape.group_inputs();
  const Extent seen = block.seen(shape);
  const long top = block.top * shape.stride.height - shape.pad.height;
  const long left = block.left * shape.stride.width - shape.pad.width;
  const long first = smaller(seen.width, larger(0, -left));
  const long last = larger(first, smaller(seen.width, shape.input.width - left));
  const bool dense = shape.groups == 1 && pitch == inputs;
  for (long line = top; line < top + seen.height; ++line, staged += seen.width * pitch) {
    if (line < 0 || line >= shape.input.height) {
      std::memset(staged, 0, seen.width * pitch * sizeof(Number));
      continue;
    }
    std::memset(staged, 0, first * pitch * sizeof(Number));
    const Number* from = x + ((block.image * shape.input.height + line) * shape.input.width + left + first) *
                                 shape.in_channels + group * inputs;
    if (dense) {
      std::memcpy(staged + first * pitch, from, (last - first) * pitch * sizeof(Number));
    } else {
      for (long column = first; column < last; ++column, from += shape.in_channels) {
        std::memcpy(staged + column * pitch, from, inputs * sizeof(Number));
        std::memset(staged + column * pitch + inputs, 0, (pitch - inputs) * sizeof(Number));
      }
    }
    std::memset(staged + last * pitch, 0, (seen.width - last) * pitch * sizeof(Number));
  }
}

}  // namespace
}  // namespace segspec
