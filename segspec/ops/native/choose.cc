#include "choose.h"

#include "processor.h"

namespace segspec {
namespace {

constexpr long kFewestChannels = 16;  // with fewer, transforms take longer than the products they save
constexpr long kFewestOfATile = 8;    // with fewer channels, most of a tile of AMX would be zeros
constexpr long kFewestTiles = 24;     // with fewer, transforms of the weights do

// Tiles of so many outputs along either axis.
long count_tiles(const Convolution& shape, long outputs) {
  const auto along = [&](long size) { return (size + outputs - 1) / outputs; };
  return shape.batch * along(shape.output.height) * along(shape.output.width);
}

// How many places a tile should have, see toom_cook.h; 0 for a product a tap. Four places are for kernels of 3 x 3.
long count_places(const Convolution& shape, bool six) {
  const bool plain = shape.stride.height == 1 && shape.stride.width == 1 && shape.dilation.height == 1 &&
                     shape.dilation.width == 1 && shape.groups == 1;
  const long small = shape.kernel.height < shape.kernel.width ? shape.kernel.height : shape.kernel.width;
  const long large = shape.kernel.height + shape.kernel.width - small;
  if (!plain || small < 3 || shape.in_channels < kFewestChannels) return 0;
  if (six && large <= 8 && count_tiles(shape, 4) >= kFewestTiles) return 6;
  return large == 3 && count_tiles(shape, 2) >= kFewestTiles ? 4 : 0;
}

}  // namespace

const Kernels* choose(const Convolution& shape, Precision precision) {
  const Processor processor = Processor::current();
  const bool tiles =
      processor.amx && shape.group_inputs() >= kFewestOfATile && shape.group_outputs() >= kFewestOfATile;
  if (tiles && precision == Precision::bfloat16) return &amx_bfloat16;
  const long places = count_places(shape, precision != Precision::float32);
  if (precision == Precision::bfloat16) {
    if (!processor.avx512_bf16) return nullptr;
    // An instruction makes two products of bfloat16 where it makes one of float32; six places save more than half.
    return places == 6 ? &avx512_bfloat16_places6 : &avx512_bfloat16;
  }
  // Six places err several times less than split numbers, and take fewer products.
  if (tiles && precision == Precision::high && places != 6) return &amx_split;
  if (processor.avx512)
    return places == 6 ? &avx512_float32_places6 : places == 4 ? &avx512_float32_places4 : &avx512_float32;
  if (processor.avx2) return places == 6 ? &avx2_float32_places6 : places == 4 ? &avx2_float32_places4 : &avx2_float32;
  return nullptr;
}

const ChannelKernels* choose_channels(bool bfloat16) {
  const Processor processor = Processor::current();
  if (bfloat16) return processor.avx512_bf16 ? &avx512_channels_bfloat16 : nullptr;
  if (processor.avx512) return &avx512_channels_float32;
  return processor.avx2 ? &avx2_channels_float32 : nullptr;
}

}  // namespace segspec
