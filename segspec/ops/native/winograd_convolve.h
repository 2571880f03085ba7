// The forward pass, which is also the input gradient, by tiles: see winograd_tiles.h.
#pragma once

#include "winograd_tiles.h"

namespace segspec {
namespace {

constexpr long kLinesATask = 16;

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
  const NoPixel<Number> outside(shape.in_channels);
  float* const filters = filtering.as<float>();
  if (layout.small) make_filters<Isa>(threads, shape, layout, w, 0, layout.panels, filters);

  // One batch of tiles, on some threads.
  const auto convolve_batch = [&](const Threads& some, long number) {
    const TileBatch<Isa, Number, Scheme> batch(some, shape, layout, number, x, outside);
    for (long first = 0; first < layout.panels; first += layout.chunk) {
      const long panels = smaller(layout.chunk, layout.panels - first);
      if (!layout.small) make_filters<Isa>(some, shape, layout, w, first, panels, filters);
      multiply_places<Isa>(some, shape, layout, batch.count, first, panels, batch.inputs(), filters, batch.outputs());
      each_tile(some, batch.count, [&](long tile) {
        transform_outputs<Isa>(shape, layout, batch.begin + tile, first * Isa::panel,
                               smaller(shape.out_channels, (first + panels) * Isa::panel),
                               batch.outputs() + tile * layout.pitch(), y);
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

}  // namespace
}  // namespace segspec
