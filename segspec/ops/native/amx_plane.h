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

  SEGSPEC_INLINE void advance(long width) {
    if (++column == width) *this = {line + 1, 0};
  }
};

// Where in an array the pixels of a rectangle of places begin. Kept by value: its numbers stay in registers.
struct Rectangle {
  long top, bottom, left, right;
  long origin, line_step, column_step;

  // -1 outside.
  SEGSPEC_INLINE long find(Place at) const {
    const bool inside = at.line >= top && at.line < bottom && at.column >= left && at.column < right;
    return inside ? origin + at.line * line_step + at.column * column_step : -1;
  }
};

// Where numbers that are `step` apart, beginning with `first`, reach `limit`.
inline long reach(long first, long step, long limit) { return limit <= first ? 0 : ceil_div(limit - first, step); }

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

  // Where in x the pixels of a plane begin, their first channels; those outside the image are zeros.
  Rectangle inputs(long plane) const {
    const Extent stride = shape_.stride, image = shape_.input;
    const long line = block_.top * stride.height + plane / stride.width - shape_.pad.height;
    const long column = block_.left * stride.width + plane % stride.width - shape_.pad.width;
    return {reach(line, stride.height, 0),
            smaller(reach(line, stride.height, image.height), size_.height),
            reach(column, stride.width, 0),
            reach(column, stride.width, image.width),
            ((block_.image * image.height + line) * image.width + column) * shape_.in_channels,
            stride.height * image.width * shape_.in_channels,
            stride.width * shape_.in_channels};
  }

  // Where in y the outputs of windows begin; other places have none.
  Rectangle outputs() const {
    const long row = block_.image * shape_.output.height + block_.top;
    return {0, block_.height, 0, block_.width, (row * shape_.output.width + block_.left) * shape_.out_channels,
            shape_.output.width * shape_.out_channels, shape_.out_channels};
  }

  // The place of a pixel or window; of those in front of the first, lines count backward.
  Place at(long number) const {
    const long line = number < 0 ? -1 - (-1 - number) / size_.width : number / size_.width;
    return {line, number - line * size_.width};
  }

 private:
  const Convolution& shape_;
  const Block& block_;
  Extent size_;
};

}  // namespace
}  // namespace segspec
