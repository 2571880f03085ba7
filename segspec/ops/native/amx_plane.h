// A block of an image as the tiles see it: windows at equal distances in one run.
//
//   stride 1: one plane                  stride 2: four planes; each holds every second column of every second line
//   +-----------------+                  +--------+--------+
//   | 0 0 0 0 0 0 0 0 |  line 0          | 0 0 0  | 0 0 0  |   tap (i, j) of a window lies in plane
//   | 0 x x x x x x x |  line 1          | 0 x x  | x x x  |   (i d mod s, j d mod s), i d / s lines and
//   | ...             |                  +--------+--------+   j d / s columns behind the window's place
//   +-----------------+                  | ...    | ...    |
//
// A plane is read as one row of pixels, line after line. Window (a, b) has place a * width + b in each plane, and a tap
// moves all places alike: what 16 windows in a row see at a tap is 16 pixels in a row. The places between the last
// window of a line and the next line are computed with the rest, and left out of the result.
#pragma once

#include "amx_numbers.h"
#include "plane.h"

namespace segspec {
namespace {

struct Place {
  long line, column;
};

class Planes {
 public:
  Planes(const Convolution& shape, const Block& block)
      : shape_(shape),
        block_(block),
        size_{ceil_div(block.seen(shape).height, shape.stride.height),
              ceil_div(block.seen(shape).width, shape.stride.width)} {}

  long count() const { return shape_.stride.height * shape_.stride.width; }
  Extent size() const { return size_; }
  long pixels() const { return size_.height * size_.width; }
  // Places from the first window to the last.
  long windows() const { return (block_.height - 1) * size_.width + block_.width; }

  long plane_of(long tap_row, long tap_column) const {
    return tap_row * shape_.dilation.height % shape_.stride.height * shape_.stride.width +
           tap_column * shape_.dilation.width % shape_.stride.width;
  }
  long move_of(long tap_row, long tap_column) const {
    return tap_row * shape_.dilation.height / shape_.stride.height * size_.width +
           tap_column * shape_.dilation.width / shape_.stride.width;
  }

  // Where in x a pixel of a plane begins, its first channel; -1 outside the image.
  SEGSPEC_INLINE long input_place(long plane, Place at) const {
    const Extent stride = shape_.stride, image = shape_.input;
    const long line = (block_.top + at.line) * stride.height + plane / stride.width - shape_.pad.height;
    const long column = (block_.left + at.column) * stride.width + plane % stride.width - shape_.pad.width;
    const bool inside =
        at.line < size_.height && line >= 0 && line < image.height && column >= 0 && column < image.width;
    return inside ? ((block_.image * image.height + line) * image.width + column) * shape_.in_channels : -1;
  }

  // Where in y the output of a window begins; -1 for places without a window.
  SEGSPEC_INLINE long output_place(Place at) const {
    if (at.line < 0 || at.line >= block_.height || at.column >= block_.width) return -1;
    const long row = block_.image * shape_.output.height + block_.top + at.line;
    return (row * shape_.output.width + block_.left + at.column) * shape_.out_channels;
  }

  // The place of a pixel or window; of those in front of the first, lines count backward.
  Place at(long number) const {
    const long line = number < 0 ? -1 - (-1 - number) / size_.width : number / size_.width;
    return {line, number - line * size_.width};
  }
  SEGSPEC_INLINE Place next(Place at) const {
    return at.column + 1 < size_.width ? Place{at.line, at.column + 1} : Place{at.line + 1, 0};
  }

 private:
  const Convolution& shape_;
  const Block& block_;
  Extent size_;
};

}  // namespace
}  // namespace segspec
