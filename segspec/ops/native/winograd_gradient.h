// The weight gradient by tiles: see winograd_tiles.h.
#pragma once

#include "winograd_tiles.h"

namespace segspec {
namespace {

constexpr long kPartsBytes = 8 << 20;  // of the sums of all parts of the tiles
constexpr long kFewestParts = 4;
constexpr long kMostParts = 16;

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
  const NoPixel<Number> outside(shape.in_channels);
  float* const filters = filtering.as<float>();

  // One batch of tiles, on some threads.
  const auto add_batch = [&](const Threads& some, long number, bool add, float* sums) {
    const TileBatch<Isa, Number, Scheme> batch(some, shape, layout, number, x, outside);
    for (long first = 0; first < layout.panels; first += layout.chunk) {
      const long panels = smaller(layout.chunk, layout.panels - first);
      each_tile(some, batch.count, [&](long tile) {
        transform_gradients<Isa>(shape, layout, batch.begin + tile, first, first + panels, g,
                                 batch.outputs() + tile * Isa::panel);
      });
      multiply_gradients<Isa>(some, shape, layout, batch.count, first, panels, batch.inputs(), batch.outputs(),
                              layout.small && add, sums);
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

}  // namespace
}  // namespace segspec
