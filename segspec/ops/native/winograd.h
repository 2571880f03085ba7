// Convolutions of stride 1 with fewer products than taps, see toom_cook.h: forward, input gradient, weight gradient.
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
constexpr long kPartsBytes = 8 << 20;   // of the sums of all parts of the tiles
constexpr long kFewestParts = 4;
constexpr long kMostParts = 16;
constexpr long kTilesATask = 8;
constexpr long kLinesATask = 16;

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

// The outputs of one tile, of channels `begin` to `end`, from its line of M at the first place.
template <class Isa, class Number, class Scheme>
void transform_outputs(const Convolution& shape, const Layout<Isa, Scheme>& layout, long tile, long begin, long end,
                       const float* from, Number* y) {
  constexpr int t = Scheme::places, m = Scheme::outputs;
  const auto place = layout.place(tile);
  const long height = smaller(m, shape.output.height - place.top), width = smaller(m, shape.output.width - place.left);
  Number* const corner =
      y + ((place.image * shape.output.height + place.top) * shape.output.width + place.left) * shape.out_channels;
  for (long channel = begin; channel < end; channel += Isa::lanes) {
    const typename Isa::Mask part = Isa::first(end - channel);
    typename Isa::Vector products[t * t], outputs[m * m];
    const Number* const next = corner + m * shape.out_channels + channel;
#pragma GCC unroll 8
    for (long i = 0; i < m; ++i)
#pragma GCC unroll 8
      for (long j = 0; j < m; ++j) __builtin_prefetch(next + (i * shape.output.width + j) * shape.out_channels, 1);
#pragma GCC unroll 64
    for (int k = 0; k < t * t; ++k) products[k] = Isa::load(from + k * layout.outputs_slice + channel - begin);
    apply_twice<Isa>(Scheme::output, products, outputs);
#pragma GCC unroll 8
    for (long i = 0; i < m; ++i)
#pragma GCC unroll 8
      for (long j = 0; j < m; ++j)
        if (i < height && j < width)
          Isa::store_part(corner + (i * shape.output.width + j) * shape.out_channels + channel, part, outputs[i * m + j]);
  }
}

// The gradients of M of one tile and some panels, [place][panel][tile][panel]: `to` is its line in the first of them.
template <class Isa, class Number, class Scheme>
void transform_gradients(const Convolution& shape, const Layout<Isa, Scheme>& layout, long tile, long first_panel,
                         long last_panel, const Number* g, float* to) {
  constexpr int t = Scheme::places, m = Scheme::outputs;
  const auto place = layout.place(tile);
  const long height = smaller(m, shape.output.height - place.top), width = smaller(m, shape.output.width - place.left);
  const Number* const corner =
      g + ((place.image * shape.output.height + place.top) * shape.output.width + place.left) * shape.out_channels;
  for (long channel = first_panel * Isa::panel; channel < last_panel * Isa::panel; channel += Isa::lanes) {
    const typename Isa::Mask part = Isa::first(shape.out_channels - channel);
    typename Isa::Vector outputs[m * m], products[t * t];
    const Number* const next = corner + m * shape.out_channels + channel;
#pragma GCC unroll 8
    for (long i = 0; i < m; ++i)
#pragma GCC unroll 8
      for (long j = 0; j < m; ++j) __builtin_prefetch(next + (i * shape.output.width + j) * shape.out_channels);
#pragma GCC unroll 8
    for (long i = 0; i < m; ++i)
#pragma GCC unroll 8
      for (long j = 0; j < m; ++j)
        outputs[i * m + j] =
            i < height && j < width
                ? Isa::load_part(corner + (i * shape.output.width + j) * shape.out_channels + channel, part)
                : Isa::zero();
    apply_twice<Isa>(Scheme::spread, outputs, products);
    float* const line = to + (channel / Isa::panel - first_panel) * layout.batch * Isa::panel + channel % Isa::panel;
#pragma GCC unroll 64
    for (int k = 0; k < t * t; ++k) Isa::store(line + k * layout.outputs_slice, products[k]);
  }
}

// U of one panel at lines `begin` to `end` of D, from its weights as convolve.h packs them.
template <class Isa, class Scheme>
void transform_filters(const Convolution& shape, const Layout<Isa, Scheme>& layout, long begin, long end,
                       const float* packed, float* to) {
  constexpr int t = Scheme::places, r = Scheme::taps;
  for (long line = begin; line < end; ++line) {
    const long piece = line / shape.in_channels, channel = line % shape.in_channels;
    const long top = piece % layout.pieces_down * r, left = piece / layout.pieces_down * r;
    for (long v = 0; v < Isa::panel; v += Isa::lanes) {
      typename Isa::Vector taps[r * r], values[t * t];
#pragma GCC unroll 8
      for (long i = 0; i < r; ++i)
#pragma GCC unroll 8
        for (long j = 0; j < r; ++j) {
          const bool inside = top + i < shape.kernel.height && left + j < shape.kernel.width;
          const long tap = (top + i) * shape.kernel.width + left + j;
          taps[i * r + j] =
              inside ? Isa::load(packed + (tap * shape.in_channels + channel) * Isa::panel + v) : Isa::zero();
        }
      apply_twice<Isa>(Scheme::filter, taps, values);
#pragma GCC unroll 64
      for (int k = 0; k < t * t; ++k)
        Isa::store(to + k * layout.filters_slice + line * Isa::panel + v, values[k]);
    }
  }
}

// U of some panels.
template <class Isa, class Scheme>
void make_filters(const Threads& threads, const Convolution& shape, const Layout<Isa, Scheme>& layout, const float* w,
                  long first_panel, long panels, float* filters) {
  const long rows = shape.kernel.height, row_size = shape.kernel.width * shape.in_channels * Isa::panel;
  const Scratch packing(panels * rows * row_size * sizeof(float));
  threads.each(panels * rows, [&](long task) {
    const long first = (first_panel + task / rows) * Isa::panel;
    pack_taps<Isa>(shape, w, 0, first, smaller(Isa::panel, shape.out_channels - first), task % rows,
                   packing.as<float>() + task * row_size);
  });
  const long parts = ceil_div(layout.depth, kLinesATask);
  threads.each(panels * parts, [&](long task) {
    const long panel = task / parts, part = task % parts;
    transform_filters<Isa>(shape, layout, share(layout.depth, parts, part), share(layout.depth, parts, part + 1),
                           packing.as<float>() + panel * rows * row_size, filters + panel * layout.depth * Isa::panel);
  });
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

// M of `count` tiles and some panels from V and U.
template <class Isa, class Scheme>
void multiply_places(const Threads& threads, const Convolution& shape, const Layout<Isa, Scheme>& layout, long count,
                     long first_panel, long panels, const float* inputs, const float* filters, float* outputs) {
  const long pitch = layout.pitch(), tiles = ceil_div(count, Isa::rows);
  const Walk walk = {1, 0, 1, 0, layout.depth, 1, layout.depth};
  threads.each(layout.places, [&](long place) {
    for (long panel = 0; panel < panels; ++panel) {
      const float* const b = filters + place * layout.filters_slice + panel * layout.depth * Isa::panel;
      float* const to = outputs + place * layout.outputs_slice + panel * Isa::panel;
      for (long tile = 0; tile < tiles; ++tile) {
        const long first = share(count, tiles, tile), last = share(count, tiles, tile + 1);
        multiply_rows<Isa, float, kAhead>(
            typename Isa::Heights{}, last - first, walk, inputs + place * layout.inputs_slice + first * layout.depth, b,
            {to + first * pitch, pitch, panel_width<Isa>(shape, first_panel + panel), false});
      }
    }
  });
}

template <class Isa, class Number, class Scheme>
void convolve_by_tiles(const Threads& threads, const Convolution& shape, const Number* x, const float* w, Number* y) {
  const Layout<Isa, Scheme> layout(shape);
  const Scratch filtering(layout.places * layout.filters_slice * sizeof(float));
  const Scratch nothing(shape.in_channels * sizeof(Number));
  float* const filters = filtering.as<float>();
  std::memset(nothing.as<Number>(), 0, shape.in_channels * sizeof(Number));
  if (layout.small) make_filters<Isa>(threads, shape, layout, w, 0, layout.panels, filters);

  // One batch of tiles, on some threads.
  const auto convolve_batch = [&](const Threads& some, long number) {
    const long begin = number * layout.batch, count = smaller(layout.batch, layout.tiles - begin);
    const Scratch reading(layout.places * layout.inputs_slice * sizeof(float));
    const Scratch writing(layout.places * layout.outputs_slice * sizeof(float));
    float *const inputs = reading.as<float>(), *const outputs = writing.as<float>();
    each_tile(some, count, [&](long tile) {
      transform_inputs<Isa>(shape, layout, begin + tile, x, nothing.as<Number>(), inputs + tile * layout.depth);
    });
    for (long first = 0; first < layout.panels; first += layout.chunk) {
      const long panels = smaller(layout.chunk, layout.panels - first);
      if (!layout.small) make_filters<Isa>(some, shape, layout, w, first, panels, filters);
      multiply_places<Isa>(some, shape, layout, count, first, panels, inputs, filters, outputs);
      each_tile(some, count, [&](long tile) {
        transform_outputs<Isa>(shape, layout, begin + tile, first * Isa::panel,
                               smaller(shape.out_channels, (first + panels) * Isa::panel),
                               outputs + tile * layout.pitch(), y);
      });
    }
  };
  const long batches = ceil_div(layout.tiles, layout.batch);
  if (layout.small) {
    threads.each(batches, [&](long batch) { convolve_batch(Alone{}, batch); });
  } else {
    for (long batch = 0; batch < batches; ++batch) convolve_batch(threads, batch);
  }
}

// dw from the gradients of U of some panels, which are the sums of `parts` arrays; in place of what is there, or added.
template <class Isa, class Scheme>
void gather_weights(const Threads& threads, const Convolution& shape, const Layout<Isa, Scheme>& layout,
                    const float* filters, long parts, long first_panel, long panels, bool add, float* dw) {
  constexpr int t = Scheme::places, r = Scheme::taps;
  const long end = smaller(shape.out_channels, (first_panel + panels) * Isa::panel);
  threads.each(layout.depth, [&](long line) {
    const long piece = line / shape.in_channels, channel = line % shape.in_channels;
    const long top = piece % layout.pieces_down * r, left = piece / layout.pieces_down * r;
    for (long output = first_panel * Isa::panel; output < end; output += Isa::lanes) {
      const typename Isa::Mask part = Isa::first(end - output);
      const float* from = filters + line * layout.pitch() + output - first_panel * Isa::panel;
      typename Isa::Vector values[t * t], taps[r * r];
#pragma GCC unroll 64
      for (int k = 0; k < t * t; ++k) values[k] = Isa::load(from + k * layout.filters_slice);
      for (long other = 1; other < parts; ++other) {
        from += layout.places * layout.filters_slice;
#pragma GCC unroll 64
        for (int k = 0; k < t * t; ++k) values[k] = Isa::add(values[k], Isa::load(from + k * layout.filters_slice));
      }
      apply_twice<Isa>(Scheme::gather, values, taps);
#pragma GCC unroll 8
      for (long i = 0; i < r; ++i) {
#pragma GCC unroll 8
        for (long j = 0; j < r; ++j) {
          if (top + i >= shape.kernel.height || left + j >= shape.kernel.width) continue;
          const long tap = (top + i) * shape.kernel.width + left + j;
          float* const to = dw + (tap * shape.in_channels + channel) * shape.out_channels + output;
          const auto sum = add ? Isa::add(Isa::load_part(to, part), taps[i * r + j]) : taps[i * r + j];
          Isa::store_part(to, part, sum);
        }
      }
    }
  });
}

// Gradients of U of some panels from V and the gradients of M of `count` tiles; in place of what is there, or added.
template <class Isa, class Scheme>
void multiply_gradients(const Threads& threads, const Convolution& shape, const Layout<Isa, Scheme>& layout, long count,
                        long first_panel, long panels, const float* inputs, const float* outputs, bool add,
                        float* filters) {
  const long pitch = layout.pitch(), tiles = ceil_div(layout.depth, Isa::rows);
  const Walk walk = {1, 0, 1, 0, count, layout.depth, 1};
  threads.each(layout.places, [&](long place) {
    for (long panel = 0; panel < panels; ++panel) {
      const float* const b = outputs + place * layout.outputs_slice + panel * layout.batch * Isa::panel;
      float* const to = filters + place * layout.filters_slice + panel * Isa::panel;
      for (long tile = 0; tile < tiles; ++tile) {
        const long first = share(layout.depth, tiles, tile), last = share(layout.depth, tiles, tile + 1);
        multiply_rows<Isa, float, 0>(typename Isa::Heights{}, last - first, walk,
                                     inputs + place * layout.inputs_slice + first, b,
                                     {to + first * pitch, pitch, panel_width<Isa>(shape, first_panel + panel), add});
      }
    }
  });
}

template <class Isa, class Number, class Scheme>
void weight_gradient_by_tiles(const Threads& threads, const Convolution& shape, const Number* x, const Number* g,
                              float* dw) {
  const Layout<Isa, Scheme> layout(shape);
  const long size = layout.places * layout.filters_slice, batches = ceil_div(layout.tiles, layout.batch);
  // With small filters, each part of the tiles has sums of its own, whose number does not depend on that of the threads.
  const long memory = larger(kFewestParts, kPartsBytes / (size * static_cast<long>(sizeof(float))));
  const long parts = layout.small ? smaller(smaller(batches, kMostParts), memory) : 1;
  const Scratch filtering(parts * size * sizeof(float));
  const Scratch nothing(shape.in_channels * sizeof(Number));
  float* const filters = filtering.as<float>();
  std::memset(nothing.as<Number>(), 0, shape.in_channels * sizeof(Number));

  // One batch of tiles, on some threads.
  const auto add_batch = [&](const Threads& some, long number, bool add, float* sums) {
    const long begin = number * layout.batch, count = smaller(layout.batch, layout.tiles - begin);
    const Scratch reading(layout.places * layout.inputs_slice * sizeof(float));
    const Scratch writing(layout.places * layout.outputs_slice * sizeof(float));
    float *const inputs = reading.as<float>(), *const outputs = writing.as<float>();
    each_tile(some, count, [&](long tile) {
      transform_inputs<Isa>(shape, layout, begin + tile, x, nothing.as<Number>(), inputs + tile * layout.depth);
    });
    for (long first = 0; first < layout.panels; first += layout.chunk) {
      const long panels = smaller(layout.chunk, layout.panels - first);
      each_tile(some, count, [&](long tile) {
        transform_gradients<Isa>(shape, layout, begin + tile, first, first + panels, g, outputs + tile * Isa::panel);
      });
      multiply_gradients<Isa>(some, shape, layout, count, first, panels, inputs, outputs, layout.small && add, sums);
      if (!layout.small) gather_weights<Isa>(some, shape, layout, sums, 1, first, panels, add, dw);
    }
  };
  if (!layout.small) {
    for (long batch = 0; batch < batches; ++batch) add_batch(threads, batch, batch > 0, filters);
    return;
  }
  threads.each(parts, [&](long part) {
    const long first = share(batches, parts, part);
    for (long batch = first; batch < share(batches, parts, part + 1); ++batch)
      add_batch(Alone{}, batch, batch > first, filters + part * size);
  });
  gather_weights<Isa>(threads, shape, layout, filters, parts, 0, layout.panels, false, dw);
}

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
