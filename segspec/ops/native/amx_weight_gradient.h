// The weight gradient with AMX: see problem.h.
//
// The depth of its products is the windows of a block, see amx_plane.h: 32 of them a step. Both sides are staged once:
//
//   a, inputs:     [part][plane][16 channels][32 pixels]: tiles [channel][pixel], transposed
//   b, gradients:  [part][16 outputs][phase][pair of windows][output][2], windows without a gradient being zeros
//
//              pixels 0 .. 31        A tap that is m pixels behind its window meets pixel q with the gradient of window
//            +----------------+      q - m. So a tile of pixels serves all taps, each with other rows of the gradients:
//   channels | x              |      m / 2 rows up. For odd m the pairs are cut the other way, which is phase 1:
//            +----------------+        phase 0: (0, 1) (2, 3) (4, 5) ...      phase 1: (1, 2) (3, 4) (5, 6) ...
//
// A NaN among the inputs may so reach the gradients of all taps of its channel, through products with zeros.
//
// Every load is a run of whole cache lines. A cell is 32 channels x 32 outputs, all its taps; a task takes up to 2 x 2
// cells and a part of the pixels, in strips: for each cell and tap the sums go into the tiles, the strip is multiplied,
// the sums go out. So a strip of x and its gradients stay in the first cache, the sums in the second.
//
// The parts of the pixels sum apart and are added in a fixed order, as in weight_gradient.h.
#pragma once

#include "amx_multiply.h"
#include "amx_plane.h"

namespace segspec {
namespace {

constexpr long kStep = 32;                    // pixels of a step
constexpr long kStrip = 12;                   // steps: 24 kB of x for a cell
constexpr long kSlice = 8;                    // steps that a task stages
constexpr long kMargin = kStep / 2;           // rows of zeros before the gradients; after them one more is needed
constexpr long kCellChunk = 2;                // cells of a task, along either side
constexpr long kStagedTogether = 8 << 20;     // bytes of a block
constexpr long kPartialSums = 8 << 20;        // bytes of the sums of all parts

// Sizes of what one group of channels needs.
struct Cells {
  explicit Cells(const Convolution& shape)
      : input_tiles(ceil_div(shape.group_inputs(), 16)),
        output_tiles(ceil_div(shape.group_outputs(), 16)),
        size{ceil_div(input_tiles, 2), ceil_div(output_tiles, 2)},
        chunks{ceil_div(size.height, kCellChunk), ceil_div(size.width, kCellChunk)},
        taps(shape.taps()),
        phases(taps == 1 ? 1 : 2) {}

  // Where the sums of a cell at a tap begin.
  long sums_at(long input_cell, long output_cell, long tap) const {
    return ((input_cell * size.width + output_cell) * taps + tap) * kBlockSums;
  }
  long sums() const { return size.height * size.width * taps * kBlockSums; }

  long input_tiles, output_tiles;
  Extent size, chunks;
  long taps, phases;
};

// A block of one group, staged.
struct StagedBlock {
  StagedBlock(const Convolution& shape, const Cells& cells, const Block& block)
      : planes(shape, block),
        steps(ceil_div(planes.pixels(), kStep)),
        rows(kMargin + planes.windows() / 2 + kMargin + 2),
        x_part(planes.count() * cells.input_tiles * steps * kTileNumbers),
        g_part(cells.output_tiles * cells.phases * rows * 32) {}

  long x_tile(const Cells& cells, long plane, long tile) const {
    return (plane * cells.input_tiles + tile) * steps * kTileNumbers;
  }
  long g_tile(const Cells& cells, long tile, long phase) const { return (tile * cells.phases + phase) * rows * 32; }

  Planes planes;
  long steps, rows;
  long x_part, g_part;
  Bfloat16 *x = nullptr, *g = nullptr;
};

// Where places in a row, from a number on, begin in an array.
inline void list_places(const Planes& planes, Rectangle array, long first, long count, long* places) {
  const long width = planes.size().width;
  Place at = planes.at(first);
  for (long number = 0; number < count; ++number, at.advance(width)) places[number] = array.find(at);
}

// A part of 32 pixels, up to 16 channels, transposed; a place of -1 is outside the image.
template <class Arrays, int part>
void stage_tile(const typename Arrays::Number* x, const long* places, __mmask16 lanes, Bfloat16* to) {
  const auto line = [&](long pixel) { return places[pixel] < 0 ? nullptr : x + places[pixel]; };
  __m512i rows[16];
#pragma GCC unroll 16
  for (long pair = 0; pair < 16; ++pair)
    rows[pair] = Arrays::template pairs<part>(line(2 * pair), line(2 * pair + 1), lanes);
  transpose(rows);
#pragma GCC unroll 16
  for (long row = 0; row < 16; ++row) _mm512_store_si512(to + row * 32, rows[row]);
}

// Pixels of a plane, from a step on, all channels.
template <class Arrays>
void stage_inputs(const Convolution& shape, const Cells& cells, const StagedBlock& staged, long plane, long first,
                  long last, const typename Arrays::Number* x) {
  long places[kSlice * kStep];
  list_places(staged.planes, staged.planes.inputs(plane), first * kStep, (last - first) * kStep, places);
  for (long tile = 0; tile < cells.input_tiles; ++tile) {
    const __mmask16 lanes = first_of_16(shape.group_inputs() - tile * 16);
    const typename Arrays::Number* const channels = x + tile * 16;
    for (long step = first; step < last; ++step) {
      const long* const pixels = places + (step - first) * kStep;
      Bfloat16* const to = staged.x + staged.x_tile(cells, plane, tile) + step * kTileNumbers;
      stage_tile<Arrays, 0>(channels, pixels, lanes, to);
      if constexpr (Arrays::parts == 2) stage_tile<Arrays, 1>(channels, pixels, lanes, to + staged.x_part);
    }
  }
}

// Rows of pairs of gradients, in both phases, all outputs.
template <class Arrays>
void stage_gradients(const Convolution& shape, const Cells& cells, const StagedBlock& staged, long first, long last,
                     const typename Arrays::Number* g) {
  long places[kSlice * kStep + 1];
  list_places(staged.planes, staged.planes.outputs(), 2 * (first - kMargin), 2 * (last - first) + 1, places);
  for (long tile = 0; tile < cells.output_tiles; ++tile) {
    const __mmask16 lanes = first_of_16(shape.group_outputs() - tile * 16);
    const auto line = [&](long window) { return places[window] < 0 ? nullptr : g + places[window] + tile * 16; };
    for (long phase = 0; phase < cells.phases; ++phase) {
      Bfloat16* const to = staged.g + staged.g_tile(cells, tile, phase);
      for (long row = first; row < last; ++row) {
        const long window = 2 * (row - first) + phase;
        _mm512_store_si512(to + row * 32, Arrays::template pairs<0>(line(window), line(window + 1), lanes));
        if constexpr (Arrays::parts == 2)
          _mm512_store_si512(to + staged.g_part + row * 32,
                             Arrays::template pairs<1>(line(window), line(window + 1), lanes));
      }
    }
  }
}

// Adds a strip to the sums of a cell, at all its taps; or, where there are none yet, begins them.
template <int parts, int rows, int columns>
void add_strip(const Convolution& shape, const Cells& cells, const StagedBlock& staged, long input_cell,
               long output_cell, long strip, bool begin, float* sums) {
  for (long tap = 0; tap < cells.taps; ++tap) {
    const long i = tap / shape.kernel.width, j = tap % shape.kernel.width;
    const long move = staged.planes.move_of(i, j);
    const long first = larger(strip * kStrip, move / kStep);
    const long last = smaller(smaller((strip + 1) * kStrip, staged.steps),
                              ceil_div(move + staged.planes.windows(), kStep));
    if (first >= last && !begin) continue;
    const long window = first * kStep - move, phase = window & 1, row = (window - phase) / 2 + kMargin;
    const Bfloat16* const a =
        staged.x + staged.x_tile(cells, staged.planes.plane_of(i, j), 2 * input_cell) + first * kTileNumbers;
    const Bfloat16* const b = staged.g + staged.g_tile(cells, 2 * output_cell, phase) + row * 32;
    float* const to = sums + cells.sums_at(input_cell, output_cell, tap);
    if (begin)
      zero_sums<rows, columns>();
    else
      load_sums<rows, columns>(to);
    multiply_steps<parts, rows, columns>(
        last - first, {a, a + staged.steps * kTileNumbers, kTileBytes, kTileNumbers, staged.x_part},
        {b, b + cells.phases * staged.rows * 32, kTileBytes, kTileNumbers, staged.g_part});
    store_sums<rows, columns>(to);
  }
}

// Adds strips to the sums of a chunk of cells, or begins them with the first.
template <int parts>
void add_strips(const Convolution& shape, const Cells& cells, const StagedBlock& staged, long chunk, long first,
                long last, bool begin, float* sums) {
  const long top = chunk / cells.chunks.width * kCellChunk, left = chunk % cells.chunks.width * kCellChunk;
  for (long strip = first; strip < last; ++strip, begin = false) {
    for (long i = top; i < smaller(top + kCellChunk, cells.size.height); ++i) {
      for (long j = left; j < smaller(left + kCellChunk, cells.size.width); ++j) {
        const bool two_rows = 2 * i + 1 < cells.input_tiles, two_columns = 2 * j + 1 < cells.output_tiles;
        (two_rows ? two_columns ? add_strip<parts, 2, 2> : add_strip<parts, 2, 1>
                  : two_columns ? add_strip<parts, 1, 2> : add_strip<parts, 1, 1>)(shape, cells, staged, i, j, strip,
                                                                                   begin, sums);
      }
    }
  }
}

// The gradient of one group's weights at a tap for up to 32 inputs: the sums of all parts.
inline void unpack_sums(const Convolution& shape, const Cells& cells, const float* sums, long parts, long input_cell,
                        long tap, float* dw) {
  for (long input = input_cell * 32; input < smaller((input_cell + 1) * 32, shape.group_inputs()); ++input) {
    float* const line = dw + (tap * shape.group_inputs() + input) * shape.out_channels;
    for (long tile = 0; tile < cells.output_tiles; ++tile) {
      const float* from = sums + cells.sums_at(input_cell, tile / 2, tap) +
                          (input % 32 / 16 * 2 + tile % 2) * kTileSums + input % 16 * 16;
      __m512 sum = _mm512_load_ps(from);
      for (long part = 1; part < parts; ++part) sum = _mm512_add_ps(sum, _mm512_load_ps(from + part * cells.sums()));
      _mm512_mask_storeu_ps(line + tile * 16, first_of_16(shape.group_outputs() - tile * 16), sum);
    }
  }
}

// Whole lines, as many as may be staged together.
template <class Arrays>
Cut cut_lines(const Convolution& shape, const Cells& cells) {
  Cut cut = {1, 1};
  const auto bytes = [&] {
    const Block block = {0, 0, 0, ceil_div(shape.output.height, cut.down), shape.output.width};
    const StagedBlock staged(shape, cells, block);
    return Arrays::parts * (staged.x_part + staged.g_part) * static_cast<long>(sizeof(Bfloat16));
  };
  while (cut.down < shape.output.height && bytes() > kStagedTogether) ++cut.down;
  return cut;
}

template <class Arrays>
void weight_gradient_amx(const Threads& threads, const Convolution& shape, const void* x, const void* g, float* dw) {
  using Number = typename Arrays::Number;
  const Cells cells(shape);
  const Cut cut = cut_lines<Arrays>(shape, cells);
  const long chunks = cells.chunks.height * cells.chunks.width, sums_bytes = cells.sums() * sizeof(float);
  // No block has fewer strips than the first, so that each part begins its sums there.
  const Block first_block = cut.block(shape, 0);
  const long fewest = ceil_div(StagedBlock(shape, cells, first_block).steps, kStrip);
  const long parts = smaller(smaller(ceil_div(kTasks, chunks), fewest), larger(1, kPartialSums / sums_bytes));

  const Scratch summing(parts * sums_bytes);
  float* const sums = summing.as<float>();
  for (long group = 0; group < shape.groups; ++group) {
    for (long number = 0; number < cut.count(shape); ++number) {
      const Block block = cut.block(shape, number);
      StagedBlock staged(shape, cells, block);
      const Scratch inputs(Arrays::parts * staged.x_part * sizeof(Bfloat16));
      const Scratch gradients(Arrays::parts * staged.g_part * sizeof(Bfloat16));
      staged.x = inputs.as<Bfloat16>();
      staged.g = gradients.as<Bfloat16>();
      const long slices = ceil_div(staged.steps, kSlice), input_slices = staged.planes.count() * slices;
      const long row_slice = kSlice * kStep / 2;
      threads.each(input_slices + ceil_div(staged.rows, row_slice), [&](long task) {
        if (task < input_slices) {
          const long first = task % slices * kSlice;
          stage_inputs<Arrays>(shape, cells, staged, task / slices, first, smaller(first + kSlice, staged.steps),
                               static_cast<const Number*>(x) + group * shape.group_inputs());
        } else {
          const long first = (task - input_slices) * row_slice;
          stage_gradients<Arrays>(shape, cells, staged, first, smaller(first + row_slice, staged.rows),
                                  static_cast<const Number*>(g) + group * shape.group_outputs());
        }
      });
      const long strips = ceil_div(staged.steps, kStrip);
      threads.each(chunks * parts, [&](long task) {
        const long part = task / chunks;
        const Tiles unit;
        add_strips<Arrays::parts>(shape, cells, staged, task % chunks, share(strips, parts, part),
                                  share(strips, parts, part + 1), number == 0, sums + part * cells.sums());
      });
    }
    threads.each(cells.size.height * cells.taps, [&](long task) {
      unpack_sums(shape, cells, sums, parts, task / cells.taps, task % cells.taps, dw + group * shape.group_outputs());
    });
  }
}

}  // namespace
}  // namespace segspec
