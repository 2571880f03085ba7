// The forward pass with AMX, which is also the input gradient: see problem.h.
//
//   a: 16 windows x 32 inputs at one tap, straight from the staged block, inputs rounded up to 32:
//      [part][plane][pixel][input]
//   b: 32 inputs x 16 outputs, packed once a call:
//      [group][panel of 32 outputs][tap][32 inputs][part][16 outputs][pair of inputs][output][2]
//
// A task stages a block and runs panels of outputs over its windows, two tiles of windows at a time.
#pragma once

#include "amx_multiply.h"
#include "amx_plane.h"

namespace segspec {
namespace {

constexpr long kPanel = 32, kChunk = 32;  // outputs of a panel, inputs of a tile

template <int parts>
constexpr long kPackedChunk = parts * 2 * kTileNumbers;

// The weights of 16 outputs and 32 inputs at a tap, from (first_input, first_output) of a group on.
template <int part>
void pack_tile(const Convolution& shape, const float* w, long group, long tap, long first_input, long first_output,
               Bfloat16* packed) {
  const long inputs = shape.group_inputs() - first_input, outputs = shape.group_outputs() - first_output;
  __m512i rows[16];
  if (shape.turned) {
    const long line = (shape.taps() - 1 - tap) * shape.group_outputs() + first_output;
    const float* const from = w + line * shape.in_channels + group * shape.group_inputs() + first_input;
    for (long output = 0; output < 16; ++output)
      rows[output] = output < outputs ? Float32Arrays::copy<part>(from + output * shape.in_channels, inputs)
                                      : _mm512_setzero_si512();
    transpose(rows);
  } else {
    const float* const from = w + (tap * shape.group_inputs() + first_input) * shape.out_channels +
                              group * shape.group_outputs() + first_output;
    const __mmask16 lanes = first_of_16(outputs);
    for (long pair = 0; pair < 16; ++pair) {
      const float* const line = from + 2 * pair * shape.out_channels;
      rows[pair] = Float32Arrays::pairs<part>(2 * pair < inputs ? line : nullptr,
                                              2 * pair + 1 < inputs ? line + shape.out_channels : nullptr, lanes);
    }
  }
  for (long row = 0; row < 16; ++row) _mm512_storeu_si512(packed + row * 32, rows[row]);
}

// The weights of a panel at a tap.
template <int parts>
void pack_panel(const Convolution& shape, const float* w, long group, long tap, long first_output, Bfloat16* packed) {
  for (long input = 0; input < shape.group_inputs(); input += kChunk, packed += kPackedChunk<parts>) {
    for (long half = 0; half < 2; ++half) {
      Bfloat16* const to = packed + half * kTileNumbers;
      pack_tile<0>(shape, w, group, tap, input, first_output + half * 16, to);
      if constexpr (parts == 2)
        pack_tile<1>(shape, w, group, tap, input, first_output + half * 16, to + 2 * kTileNumbers);
    }
  }
}

template <class Arrays>
void stage_pixels(const Convolution& shape, const Planes& planes, const typename Arrays::Number* x, Bfloat16* staged,
                  long pitch, long part_size) {
  const long inputs = shape.group_inputs(), pixels = planes.pixels(), width = planes.size().width;
  for (long plane = 0; plane < planes.count(); ++plane) {
    const Rectangle image = planes.inputs(plane);
    Place at = {0, 0};
    for (long pixel = 0; pixel < pixels; ++pixel, at.advance(width), staged += pitch) {
      const long place = image.find(at), count = place < 0 ? 0 : inputs;
      const typename Arrays::Number* const from = x + larger(place, 0);
      for (long input = 0; input < pitch; input += kChunk) {
        _mm512_storeu_si512(staged + input, Arrays::template copy<0>(from + input, count - input));
        if constexpr (Arrays::parts == 2)
          _mm512_storeu_si512(staged + part_size + input, Arrays::template copy<1>(from + input, count - input));
      }
    }
  }
}

// How a block's windows are cut into tiles of 16: in one run, or each line by itself where that takes fewer.
struct WindowTiles {
  WindowTiles(const Planes& planes, const Block& block)
      : width(planes.size().width), line_width(block.width), line_tiles(ceil_div(block.width, kTileRows)) {
    const long whole = ceil_div(planes.windows(), kTileRows);
    one_run = whole < block.height * line_tiles;
    count = one_run ? whole : block.height * line_tiles;
  }
  long first(long tile) const {
    return one_run ? tile * kTileRows : tile / line_tiles * width + tile % line_tiles * kTileRows;
  }
  // Windows that this tile is to write.
  long size(long tile) const {
    return one_run ? kTileRows : smaller(kTileRows, line_width - tile % line_tiles * kTileRows);
  }

  long width, line_width, line_tiles, count;
  bool one_run;
};

// What is the same for all tiles of a block and a panel.
template <class Arrays>
struct PanelTask {
  const Convolution& shape;
  const Planes& planes;
  const WindowTiles& tiles;
  const Bfloat16 *staged, *packed;
  long pitch, part_size;
  typename Arrays::Number* y;  // the panel's first output of the first pixel of the batch
  long outputs;
};

template <class Arrays, int rows, int columns>
void convolve_tiles(const PanelTask<Arrays>& task, long first_tile) {
  const long chunks = task.pitch / kChunk;
  const Bfloat16* packed = task.packed;
  zero_sums<rows, columns>();
  for (long i = 0; i < task.shape.kernel.height; ++i) {
    for (long j = 0; j < task.shape.kernel.width; ++j, packed += chunks * kPackedChunk<Arrays::parts>) {
      const Bfloat16* const seen =
          task.staged + (task.planes.plane_of(i, j) * task.planes.pixels() + task.planes.move_of(i, j)) * task.pitch;
      const Operand a = {seen + task.tiles.first(first_tile) * task.pitch,
                         seen + task.tiles.first(first_tile + rows - 1) * task.pitch,
                         task.pitch * static_cast<long>(sizeof(Bfloat16)), kChunk, task.part_size};
      const Operand b = {packed, packed + kTileNumbers, kTileBytes, kPackedChunk<Arrays::parts>, 2 * kTileNumbers};
      multiply_steps<Arrays::parts, rows, columns>(chunks, a, b);
    }
  }
  alignas(64) float sums[kBlockSums];
  store_sums<rows, columns>(sums);
  const Rectangle outputs = task.planes.outputs();
  const long width = task.planes.size().width;
  for (long half = 0; half < rows; ++half) {
    const long size = task.tiles.size(first_tile + half);
    Place window = task.planes.at(task.tiles.first(first_tile + half));
    for (long row = 0; row < size; ++row, window.advance(width)) {
      const long place = outputs.find(window);
      if (place < 0) continue;
      const float* const from = sums + half * 2 * kTileSums + row * 16;
      Arrays::write(task.y + place, task.outputs, _mm512_load_ps(from));
      if (columns == 2) Arrays::write(task.y + place + 16, task.outputs - 16, _mm512_load_ps(from + kTileSums));
    }
  }
}

template <class Arrays>
void convolve_panel(const PanelTask<Arrays>& task) {
  const bool wide = task.outputs > 16;
  const long pairs = task.tiles.count / 2 * 2;
  for (long tile = 0; tile < pairs; tile += 2)
    (wide ? convolve_tiles<Arrays, 2, 2> : convolve_tiles<Arrays, 2, 1>)(task, tile);
  if (pairs < task.tiles.count) (wide ? convolve_tiles<Arrays, 1, 2> : convolve_tiles<Arrays, 1, 1>)(task, pairs);
}

template <class Arrays>
void convolve_amx(const Threads& threads, const Convolution& shape, const void* x, const float* w, void* y) {
  using Number = typename Arrays::Number;
  constexpr long parts = Arrays::parts;
  const long pitch = ceil_div(shape.group_inputs(), kChunk) * kChunk, panels = ceil_div(shape.group_outputs(), kPanel);
  const long tap_size = pitch / kChunk * kPackedChunk<parts>, panel_size = shape.taps() * tap_size;

  const Scratch packing(shape.groups * panels * panel_size * sizeof(Bfloat16));
  Bfloat16* const packed = packing.as<Bfloat16>();
  threads.each(shape.groups * panels * shape.taps(), [&](long task) {
    const long tap = task % shape.taps(), panel = task / shape.taps() % panels, group = task / shape.taps() / panels;
    pack_panel<parts>(shape, w, group, tap, panel * kPanel, packed + task * tap_size);
  });

  const Cut cut = cut_plane(shape, parts * pitch * sizeof(Bfloat16), 2 * kTileRows);
  const long shares = smaller(panels, ceil_div(kTasks, cut.count(shape) * shape.groups));
  threads.each(cut.count(shape) * shape.groups * shares, [&](long task) {
    const long part = task % shares, group = task / shares % shape.groups;
    const Block block = cut.block(shape, task / shares / shape.groups);
    const Planes planes(shape, block);
    // Beyond the last pixel: what the last tile sees for places without a window.
    const long part_size = (planes.count() * planes.pixels() + kTileRows) * pitch;
    const Scratch staging(parts * part_size * sizeof(Bfloat16));
    stage_pixels<Arrays>(shape, planes, static_cast<const Number*>(x) + group * shape.group_inputs(),
                         staging.as<Bfloat16>(), pitch, part_size);
    const WindowTiles tiles(planes, block);
    const Tiles unit;
    for (long panel = share(panels, shares, part); panel < share(panels, shares, part + 1); ++panel) {
      const long first = panel * kPanel;
      convolve_panel<Arrays>({shape, planes, tiles, staging.as<Bfloat16>(),
                              packed + (group * panels + panel) * panel_size, pitch, part_size,
                              static_cast<Number*>(y) + group * shape.group_outputs() + first,
                              smaller(kPanel, shape.group_outputs() - first)});
    }
  });
}

}  // namespace
}  // namespace segspec
