// Convolutions of stride 1 with fewer products than taps, see toom_cook.h: what the passes share.
//
// The output plane is covered with tiles of m x m; a tile sees t x t inputs. A kernel with more than r x r taps is cut into
// pieces of r x r, of which each sees inputs of its own and all add to the same products. With D = pieces x inputs:
//
//   inputs    x   -> V [place][tile][D]               V = B d B' of each tile, piece and channel
//   filters   w   -> U [place][panel][D][panel]       U = G w G'
//   products  V, U -> M [place][tile][outputs]        one product of matrices a place, t x t of them
//   outputs   M   -> y                                y = A M A'
//
// The weight gradient goes the same way backwards: from g to gradients of M [place][panel][tile][panel], from those and V to
// gradients of U [place][D][outputs], and from those to dw.
//
// What is read again should come from a cache. Small filters: all of U is made once, and each task takes batches of tiles
// whose V and M are small. Large filters: all threads work on as many tiles as possible, and on panels in chunks whose part
// of U is small.
#pragma once

#include "convolve.h"
#include "toom_cook.h"

namespace segspec {
namespace {

constexpr long kFilterBytes = 4 << 20;  // of U: small filters are below
constexpr long kBatchBytes = 2 << 20;   // of V and M, with small filters
constexpr long kInputBytes = 16 << 20;  // of V, with large filters
constexpr long kFewestTiles = 56;       // of a batch: U is read once for each
constexpr long kTilesATask = 8;

// y = matrix x, for vectors of channels. Loops unroll, so that coefficients of 0 and 1 cost nothing.
template <class Isa, int rows, int columns>
SEGSPEC_INLINE void apply(const Matrix<rows, columns>& matrix, const typename Isa::Vector* x, long x_step,
                          typename Isa::Vector* y, long y_step) {
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
    typename Isa::Vector sum = Isa::zero();
    bool empty = true;
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) {
      const float factor = matrix.at[i][j];
      if (factor == 0) continue;
      const typename Isa::Vector value = x[j * x_step];
      if (factor == 1)
        sum = empty ? value : Isa::add(sum, value);
      else if (factor == -1 && !empty)
        sum = Isa::subtract(sum, value);
      else
        sum = empty ? Isa::scale(factor, value) : Isa::scale_add(factor, value, sum);
      empty = false;
    }
    y[i * y_step] = sum;
  }
}

// Y = matrix X matrix', where X is columns x columns and Y is rows x rows.
template <class Isa, int rows, int columns>
SEGSPEC_INLINE void apply_twice(const Matrix<rows, columns>& matrix, const typename Isa::Vector* x,
                                typename Isa::Vector* y) {
  typename Isa::Vector half[rows * columns];
#pragma GCC unroll 8
  for (int column = 0; column < columns; ++column) apply<Isa>(matrix, x + column, columns, half + column, columns);
#pragma GCC unroll 8
  for (int row = 0; row < rows; ++row) apply<Isa>(matrix, half + row * columns, 1, y + row * rows, 1);
}

// The sizes of one convolution by a scheme.
template <class Isa, class Scheme>
struct Layout {
  static constexpr long places = Scheme::places * Scheme::places;
  long down, across;         // tiles of an image
  long pieces_down, pieces;  // of the kernel
  long depth, panels;        // D, and panels of outputs
  long tiles, batch;         // of all images, and at a time
  long chunk;                // panels at a time
  bool small;                // filters
  long inputs_slice, outputs_slice, filters_slice;  // numbers of V, M and U at a place

  explicit Layout(const Convolution& shape)
      : down(ceil_div(shape.output.height, Scheme::outputs)),
        across(ceil_div(shape.output.width, Scheme::outputs)),
        pieces_down(ceil_div(shape.kernel.height, Scheme::taps)),
        pieces(pieces_down * ceil_div(shape.kernel.width, Scheme::taps)),
        depth(pieces * shape.in_channels),
        panels(ceil_div(shape.out_channels, Isa::panel)),
        tiles(shape.batch * down * across) {
    const long panel_bytes = places * depth * Isa::panel * sizeof(float), tile_bytes = places * depth * sizeof(float);
    small = panels * panel_bytes <= kFilterBytes;
    const long fitting = small ? kBatchBytes * depth / (depth + panels * Isa::panel) : kInputBytes;
    const long batches = ceil_div(tiles, larger(kFewestTiles, fitting / tile_bytes));
    batch = ceil_div(ceil_div(tiles, batches), Isa::rows) * Isa::rows;
    chunk = small ? panels : larger(1, kFilterBytes / panel_bytes);
    // An odd number of cache lines: places would fall on the same lines of a cache otherwise.
    const auto odd_lines = [](long numbers) { return (ceil_div(numbers, 16) | 1) * 16; };
    inputs_slice = odd_lines(batch * depth);
    outputs_slice = odd_lines(batch * pitch());
    filters_slice = odd_lines(depth * pitch());
  }

  // Numbers that a line of M has: the outputs of a chunk.
  long pitch() const { return chunk * Isa::panel; }

  // Where a tile's outputs begin.
  struct Place {
    long image, top, left;
  };
  Place place(long tile) const {
    return {tile / (down * across), tile / across % down * Scheme::outputs, tile % across * Scheme::outputs};
  }
};

// V of one tile: `to` is its line at the first place.
template <class Isa, class Number, class Scheme>
void transform_inputs(const Convolution& shape, const Layout<Isa, Scheme>& layout, long tile, const Number* x,
                      const Number* zeros, float* to) {
  constexpr int t = Scheme::places;
  const auto place = layout.place(tile);
  for (long piece = 0; piece < layout.pieces; ++piece, to += shape.in_channels) {
    const long top = place.top - shape.pad.height + piece % layout.pieces_down * Scheme::taps;
    const long left = place.left - shape.pad.width + piece / layout.pieces_down * Scheme::taps;
    const Number* pixels[t * t];
    for (long i = 0; i < t; ++i) {
      for (long j = 0; j < t; ++j) {
        const bool inside =
            top + i >= 0 && top + i < shape.input.height && left + j >= 0 && left + j < shape.input.width;
        const long pixel = (place.image * shape.input.height + top + i) * shape.input.width + left + j;
        pixels[i * t + j] = inside ? x + pixel * shape.in_channels : zeros;
      }
    }
    for (long channel = 0; channel < shape.in_channels; channel += Isa::lanes) {
      const typename Isa::Mask part = Isa::first(shape.in_channels - channel);
      typename Isa::Vector d[t * t], v[t * t];
      // The next tile sees the pixels to the right, which nobody has read yet.
#pragma GCC unroll 64
      for (int k = 0; k < t * t; ++k)
        if (k % t >= t - Scheme::outputs) __builtin_prefetch(pixels[k] + Scheme::outputs * shape.in_channels + channel);
#pragma GCC unroll 64
      for (int k = 0; k < t * t; ++k) d[k] = Isa::load_part(pixels[k] + channel, part);
      apply_twice<Isa>(Scheme::input, d, v);
#pragma GCC unroll 64
      for (int k = 0; k < t * t; ++k) Isa::store_part(to + k * layout.inputs_slice + channel, part, v[k]);
    }
  }
}

// Calls body(tile) for 0 to count - 1.
template <class Body>
void each_tile(const Threads& threads, long count, const Body& body) {
  const long groups = ceil_div(count, kTilesATask);
  threads.each(groups, [&](long group) {
    for (long tile = share(count, groups, group); tile < share(count, groups, group + 1); ++tile) body(tile);
  });
}

// Of a panel, as many numbers as whole registers need for its outputs.
template <class Isa>
long panel_width(const Convolution& shape, long panel) {
  return smaller(Isa::panel, ceil_div(shape.out_channels - panel * Isa::panel, Isa::lanes) * Isa::lanes);
}

// A pixel of zeros, seen outside the image.
template <class Number>
class NoPixel {
 public:
  explicit NoPixel(long channels) : memory_(channels * sizeof(Number)) {
    std::memset(memory_.as<Number>(), 0, channels * sizeof(Number));
  }
  const Number* data() const { return memory_.as<Number>(); }

 private:
  Scratch memory_;
};

// A batch of tiles: V of them, and room for M or its gradients of a chunk of panels.
template <class Isa, class Number, class Scheme>
class TileBatch {
 public:
  TileBatch(const Threads& threads, const Convolution& shape, const Layout<Isa, Scheme>& layout, long number,
            const Number* x, const NoPixel<Number>& outside)
      : begin(number * layout.batch),
        count(smaller(layout.batch, layout.tiles - begin)),
        reading_(layout.places * layout.inputs_slice * sizeof(float)),
        writing_(layout.places * layout.outputs_slice * sizeof(float)) {
    each_tile(threads, count, [&](long tile) {
      transform_inputs<Isa>(shape, layout, begin + tile, x, outside.data(), inputs() + tile * layout.depth);
    });
  }
  float* inputs() const { return reading_.template as<float>(); }
  float* outputs() const { return writing_.template as<float>(); }

  const long begin, count;

 private:
  const Scratch reading_, writing_;
};

}  // namespace
}  // namespace segspec
