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
// gradients of U [place][D][outputs], and from those to dw. Tiles are taken in batches whose V and M stay in the last cache.
#pragma once

#include "convolve.h"
#include "toom_cook.h"

namespace segspec {
namespace {

constexpr long kBatchBytes = 1 << 20;  // of V and M: a part of the last cache
constexpr long kFewestTiles = 56;      // of a batch: U is read once for each
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
  long inputs_slice, outputs_slice, filters_slice;  // numbers of V, M and U at a place

  explicit Layout(const Convolution& shape)
      : down(ceil_div(shape.output.height, Scheme::outputs)),
        across(ceil_div(shape.output.width, Scheme::outputs)),
        pieces_down(ceil_div(shape.kernel.height, Scheme::taps)),
        pieces(pieces_down * ceil_div(shape.kernel.width, Scheme::taps)),
        depth(pieces * shape.in_channels),
        panels(ceil_div(shape.out_channels, Isa::panel)),
        tiles(shape.batch * down * across) {
    const long fitting = kBatchBytes / (places * 4 * (depth + panels * Isa::panel));
    const long batches = ceil_div(tiles, larger(kFewestTiles, fitting));
    batch = ceil_div(ceil_div(tiles, batches), Isa::rows) * Isa::rows;
    // An odd number of cache lines: places would fall on the same lines of a cache otherwise.
    inputs_slice = (ceil_div(batch * depth, 16) | 1) * 16;
    outputs_slice = (ceil_div(batch * panels * Isa::panel, 16) | 1) * 16;
    filters_slice = panels * depth * Isa::panel;
  }

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
      const long count = shape.in_channels - channel;
      typename Isa::Vector d[t * t], v[t * t];
      // The next tile sees the pixels to the right, which nobody has read yet.
#pragma GCC unroll 36
      for (int k = 0; k < t * t; ++k)
        if (k % t >= t - Scheme::outputs) __builtin_prefetch(pixels[k] + Scheme::outputs * shape.in_channels + channel);
#pragma GCC unroll 36
      for (int k = 0; k < t * t; ++k) d[k] = Isa::load_part(pixels[k] + channel, count);
      apply_twice<Isa>(Scheme::input, d, v);
#pragma GCC unroll 36
      for (int k = 0; k < t * t; ++k) Isa::store_part(to + k * layout.inputs_slice + channel, count, v[k]);
    }
  }
}

// The outputs of one tile, from its line of M at the first place.
template <class Isa, class Number, class Scheme>
void transform_outputs(const Convolution& shape, const Layout<Isa, Scheme>& layout, long tile, const float* from,
                       Number* y) {
  constexpr int t = Scheme::places, m = Scheme::outputs;
  const auto place = layout.place(tile);
  const long height = smaller(m, shape.output.height - place.top), width = smaller(m, shape.output.width - place.left);
  Number* const corner =
      y + ((place.image * shape.output.height + place.top) * shape.output.width + place.left) * shape.out_channels;
  for (long channel = 0; channel < shape.out_channels; channel += Isa::lanes) {
    typename Isa::Vector products[t * t], outputs[m * m];
    const Number* const next = corner + m * shape.out_channels + channel;
#pragma GCC unroll 4
    for (long i = 0; i < m; ++i)
#pragma GCC unroll 4
      for (long j = 0; j < m; ++j) __builtin_prefetch(next + (i * shape.output.width + j) * shape.out_channels, 1);
#pragma GCC unroll 36
    for (int k = 0; k < t * t; ++k) products[k] = Isa::load(from + k * layout.outputs_slice + channel);
    apply_twice<Isa>(Scheme::output, products, outputs);
#pragma GCC unroll 4
    for (long i = 0; i < m; ++i)
#pragma GCC unroll 4
      for (long j = 0; j < m; ++j)
        if (i < height && j < width)
          Isa::store_part(corner + (i * shape.output.width + j) * shape.out_channels + channel,
                          shape.out_channels - channel, outputs[i * m + j]);
  }
}

// The gradients of M of one tile, [place][panel][tile][panel]: `to` is the tile's line in the first panel.
template <class Isa, class Number, class Scheme>
void transform_gradients(const Convolution& shape, const Layout<Isa, Scheme>& layout, long tile, long panel_size,
                         const Number* g, float* to) {
  constexpr int t = Scheme::places, m = Scheme::outputs;
  const auto place = layout.place(tile);
  const long height = smaller(m, shape.output.height - place.top), width = smaller(m, shape.output.width - place.left);
  const Number* const corner =
      g + ((place.image * shape.output.height + place.top) * shape.output.width + place.left) * shape.out_channels;
  for (long channel = 0; channel < layout.panels * Isa::panel; channel += Isa::lanes) {
    typename Isa::Vector outputs[m * m], products[t * t];
    const Number* const next = corner + m * shape.out_channels + channel;
#pragma GCC unroll 4
    for (long i = 0; i < m; ++i)
#pragma GCC unroll 4
      for (long j = 0; j < m; ++j) __builtin_prefetch(next + (i * shape.output.width + j) * shape.out_channels);
#pragma GCC unroll 4
    for (long i = 0; i < m; ++i)
#pragma GCC unroll 4
      for (long j = 0; j < m; ++j)
        outputs[i * m + j] =
            i < height && j < width
                ? Isa::load_part(corner + (i * shape.output.width + j) * shape.out_channels + channel,
                                 shape.out_channels - channel)
                : Isa::zero();
    apply_twice<Isa>(Scheme::spread, outputs, products);
    float* const line = to + channel / Isa::panel * panel_size + channel % Isa::panel;
#pragma GCC unroll 36
    for (int k = 0; k < t * t; ++k) Isa::store_part(line + k * layout.outputs_slice, Isa::lanes, products[k]);
  }
}

// U of one panel, from its weights as convolve.h packs them.
template <class Isa, class Scheme>
void transform_filters(const Convolution& shape, const Layout<Isa, Scheme>& layout, const float* packed, float* to) {
  constexpr int t = Scheme::places, r = Scheme::taps;
  for (long piece = 0; piece < layout.pieces; ++piece) {
    const long top = piece % layout.pieces_down * r, left = piece / layout.pieces_down * r;
    for (long line = 0; line < shape.in_channels; ++line, to += Isa::panel) {
      for (long v = 0; v < Isa::panel; v += Isa::lanes) {
        typename Isa::Vector taps[r * r], values[t * t];
#pragma GCC unroll 4
        for (long i = 0; i < r; ++i)
#pragma GCC unroll 4
          for (long j = 0; j < r; ++j) {
            const bool inside = top + i < shape.kernel.height && left + j < shape.kernel.width;
            const long tap = (top + i) * shape.kernel.width + left + j;
            taps[i * r + j] =
                inside ? Isa::load(packed + (tap * shape.in_channels + line) * Isa::panel + v) : Isa::zero();
          }
        apply_twice<Isa>(Scheme::filter, taps, values);
#pragma GCC unroll 36
        for (int k = 0; k < t * t; ++k) Isa::store_part(to + k * layout.filters_slice + v, Isa::lanes, values[k]);
      }
    }
  }
}

template <class Isa, class Number, class Scheme>
void convolve_by_tiles(const Threads& threads, const Convolution& shape, const Number* x, const float* w, Number* y) {
  const Layout<Isa, Scheme> layout(shape);
  constexpr long places = Layout<Isa, Scheme>::places;
  const Scratch filters(places * layout.filters_slice * sizeof(float));
  threads.each(layout.panels, [&](long panel) {
    const long lines = shape.kernel.width * shape.in_channels, first = panel * Isa::panel;
    const Scratch packing(shape.kernel.height * lines * Isa::panel * sizeof(float));
    for (long row = 0; row < shape.kernel.height; ++row)
      pack_taps<Isa>(shape, w, 0, first, smaller(Isa::panel, shape.out_channels - first), row,
                     packing.as<float>() + row * lines * Isa::panel);
    transform_filters<Isa>(shape, layout, packing.as<float>(), filters.as<float>() + panel * layout.depth * Isa::panel);
  });

  const Scratch inputs(places * layout.inputs_slice * sizeof(float));
  const Scratch outputs(places * layout.outputs_slice * sizeof(float));
  const Scratch nothing(shape.in_channels * sizeof(Number));
  std::memset(nothing.as<Number>(), 0, shape.in_channels * sizeof(Number));
  const long pitch = layout.panels * Isa::panel;
  for (long begin = 0; begin < layout.tiles; begin += layout.batch) {
    const long count = smaller(layout.batch, layout.tiles - begin), groups = ceil_div(count, kTilesATask);
    threads.each(groups, [&](long group) {
      for (long tile = share(count, groups, group); tile < share(count, groups, group + 1); ++tile)
        transform_inputs<Isa>(shape, layout, begin + tile, x, nothing.as<Number>(),
                              inputs.as<float>() + tile * layout.depth);
    });
    threads.each(places, [&](long place) {
      const Walk walk = {1, 0, 1, 0, layout.depth, 1, layout.depth};
      const long tiles = ceil_div(count, Isa::rows);
      for (long panel = 0; panel < layout.panels; ++panel) {
        const float* const b = filters.as<float>() + place * layout.filters_slice + panel * layout.depth * Isa::panel;
        const long width = smaller(Isa::panel, ceil_div(shape.out_channels - panel * Isa::panel, Isa::lanes) * Isa::lanes);
        for (long tile = 0; tile < tiles; ++tile) {
          const long first = share(count, tiles, tile), last = share(count, tiles, tile + 1);
          multiply_rows<Isa, float, kAhead>(
              typename Isa::Heights{}, last - first, walk,
              inputs.as<float>() + place * layout.inputs_slice + first * layout.depth, b,
              {outputs.as<float>() + place * layout.outputs_slice + first * pitch + panel * Isa::panel, pitch, width,
               false});
        }
      }
    });
    threads.each(groups, [&](long group) {
      for (long tile = share(count, groups, group); tile < share(count, groups, group + 1); ++tile)
        transform_outputs<Isa>(shape, layout, begin + tile, outputs.as<float>() + tile * pitch, y);
    });
  }
}

template <class Isa, class Number, class Scheme>
void weight_gradient_by_tiles(const Threads& threads, const Convolution& shape, const Number* x, const Number* g,
                              float* dw) {
  constexpr int t = Scheme::places, r = Scheme::taps;
  const Layout<Isa, Scheme> layout(shape);
  constexpr long places = Layout<Isa, Scheme>::places;
  const Scratch inputs(places * layout.inputs_slice * sizeof(float));
  const Scratch gradients(places * layout.outputs_slice * sizeof(float));
  const Scratch filters(places * layout.filters_slice * sizeof(float));
  const Scratch nothing(shape.in_channels * sizeof(Number));
  std::memset(nothing.as<Number>(), 0, shape.in_channels * sizeof(Number));
  const long panel_size = layout.batch * Isa::panel, pitch = layout.panels * Isa::panel;
  for (long begin = 0; begin < layout.tiles; begin += layout.batch) {
    const long count = smaller(layout.batch, layout.tiles - begin), groups = ceil_div(count, kTilesATask);
    threads.each(groups, [&](long group) {
      for (long tile = share(count, groups, group); tile < share(count, groups, group + 1); ++tile) {
        transform_inputs<Isa>(shape, layout, begin + tile, x, nothing.as<Number>(),
                              inputs.as<float>() + tile * layout.depth);
        transform_gradients<Isa>(shape, layout, begin + tile, panel_size, g,
                                 gradients.as<float>() + tile * Isa::panel);
      }
    });
    threads.each(places, [&](long place) {
      const Walk walk = {1, 0, 1, 0, count, layout.depth, 1};
      const long tiles = ceil_div(layout.depth, Isa::rows);
      for (long panel = 0; panel < layout.panels; ++panel) {
        const float* const b = gradients.as<float>() + place * layout.outputs_slice + panel * panel_size;
        const long width = smaller(Isa::panel, ceil_div(shape.out_channels - panel * Isa::panel, Isa::lanes) * Isa::lanes);
        for (long tile = 0; tile < tiles; ++tile) {
          const long first = share(layout.depth, tiles, tile), last = share(layout.depth, tiles, tile + 1);
          multiply_rows<Isa, float, 0>(
              typename Isa::Heights{}, last - first, walk, inputs.as<float>() + place * layout.inputs_slice + first, b,
              {filters.as<float>() + place * layout.filters_slice + first * pitch + panel * Isa::panel, pitch, width,
               begin > 0});
        }
      }
    });
  }

  threads.each(layout.depth, [&](long line) {
    const long piece = line / shape.in_channels, channel = line % shape.in_channels;
    const long top = piece % layout.pieces_down * r, left = piece / layout.pieces_down * r;
    const float* const from = filters.as<float>() + line * pitch;
    for (long output = 0; output < shape.out_channels; output += Isa::lanes) {
      typename Isa::Vector values[t * t], taps[r * r];
#pragma GCC unroll 36
      for (int k = 0; k < t * t; ++k) values[k] = Isa::load(from + k * layout.filters_slice + output);
      apply_twice<Isa>(Scheme::gather, values, taps);
#pragma GCC unroll 4
      for (long i = 0; i < r; ++i)
#pragma GCC unroll 4
        for (long j = 0; j < r; ++j)
          if (top + i < shape.kernel.height && left + j < shape.kernel.width)
            Isa::store_part(dw + (((top + i) * shape.kernel.width + left + j) * shape.in_channels + channel) *
                                     shape.out_channels + output,
                            shape.out_channels - output, taps[i * r + j]);
    }
  });
}

// The scheme of six places that takes the fewest products for a kernel: tiles of 4 x 4, or of 3 x 3 for pieces of 4 x 4 taps.
inline bool takes_large_pieces(const Convolution& shape) {
  const auto products = [&](long outputs, long taps) {
    return 36. * ceil_div(shape.kernel.height, taps) * ceil_div(shape.kernel.width, taps) / (outputs * outputs);
  };
  return products(3, 4) < products(4, 3);
}

template <class Isa, class Number, int places>
void convolve_by_tiles_of(const Threads& threads, const Convolution& shape, const void* x, const float* w, void* y) {
  const auto run = [&](auto scheme) {
    convolve_by_tiles<Isa, Number, decltype(scheme)>(threads, shape, static_cast<const Number*>(x), w,
                                                     static_cast<Number*>(y));
  };
  if constexpr (places == 4) run(Scheme<2, 3>{});
  if constexpr (places == 6) takes_large_pieces(shape) ? run(Scheme<3, 4>{}) : run(Scheme<4, 3>{});
}

template <class Isa, class Number, int places>
void weight_gradient_by_tiles_of(const Threads& threads, const Convolution& shape, const void* x, const void* g,
                                 float* dw) {
  const auto run = [&](auto scheme) {
    weight_gradient_by_tiles<Isa, Number, decltype(scheme)>(threads, shape, static_cast<const Number*>(x),
                                                            static_cast<const Number*>(g), dw);
  };
  if constexpr (places == 4) run(Scheme<2, 3>{});
  if constexpr (places == 6) takes_large_pieces(shape) ? run(Scheme<3, 4>{}) : run(Scheme<4, 3>{});
}

template <class Isa, class Number>
constexpr Kernels with_4_places() {
  return {convolve_by_tiles_of<Isa, Number, 4>, weight_gradient_by_tiles_of<Isa, Number, 4>};
}
template <class Isa, class Number>
constexpr Kernels with_6_places() {
  return {convolve_by_tiles_of<Isa, Number, 6>, weight_gradient_by_tiles_of<Isa, Number, 6>};
}

}  // namespace
}  // namespace segspec
