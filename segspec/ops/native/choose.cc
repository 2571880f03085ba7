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

// How many outputs a tile should have along either axis, see toom_cook.h; 0 for a product a tap. Tiles of 2, whose errors
// are those of a direct sum, are for kernels of 3 x 3; tiles of 4 see taps in pieces of 3 x 3, tiles of 5 of 4 x 4.
long choose_tile(const Convolution& shape, bool large) {
  const bool plain = shape.stride.height == 1 && shape.stride.width == 1 && shape.dilation.height == 1 &&
                     shape.dilation.width == 1 && shape.groups == 1;
  const long least = shape.kernel.height < shape.kernel.width ? shape.kernel.height : shape.kernel.width;
  const long most = shape.kernel.height + shape.kernel.width - least;
  if (!plain || least < 3 || shape.in_channels < kFewestChannels) return 0;
  if (large && most <= 8) {
    const auto products = [&](long outputs, long taps) {
      const auto pieces = [&](long size) { return (size + taps - 1) / taps; };
      const double places = static_cast<double>((outputs + taps - 1) * (outputs + taps - 1));
      return places * static_cast<double>(pieces(most) * pieces(least)) / static_cast<double>(outputs * outputs);
    };
    const long outputs = products(4, 3) <= products(5, 4) ? 4 : 5;
    if (count_tiles(shape, outputs) >= kFewestTiles) return outputs;
  }
  return most == 3 && count_tiles(shape, 2) >= kFewestTiles ? 2 : 0;
}

}  // namespace

const Kernels* choose(const Convolution& shape, Precision precision) {
  const Processor processor = Processor::current();
  const bool amx =
      processor.amx && shape.group_inputs() >= kFewestOfATile && shape.group_outputs() >= kFewestOfATile;
  if (amx && precision == Precision::bfloat16) return &amx_bfloat16;
  const long tile = choose_tile(shape, precision != Precision::float32);
  if (precision == Precision::bfloat16) {
    if (!processor.avx512_bf16) return nullptr;
    // An instruction makes two products of bfloat16 where it makes one of float32; tiles save more than half.
    return tile == 5 ? &avx512_bfloat16_tiles5 : tile == 4 ? &avx512_bfloat16_tiles4 : &avx512_bfloat16;
  }
  // Large tiles err less than split numbers, and take fewer products.
  if (amx && precision == Precision::high && tile < 4) return &amx_split;
  if (processor.avx512)
    return tile == 5   ? &avx512_float32_tiles5
           : tile == 4 ? &avx512_float32_tiles4
           : tile == 2 ? &avx512_float32_tiles2
                       : &avx512_float32;
  if (processor.avx2)
    return tile == 5   ? &avx2_float32_tiles5
           : tile == 4 ? &avx2_float32_tiles4
           : tile == 2 ? &avx2_float32_tiles2
                       : &avx2_float32;
  return nullptr;
}

const ChannelKernels* choose_channels(bool bfloat16) {
  const Processor processor = Processor::current();
  if (bfloat16) return processor.avx512_bf16 ? &avx512_channels_bfloat16 : nullptr;
  if (processor.avx512) return &avx512_channels_float32;
  return processor.avx2 ? &avx2_channels_float32 : nullptr;
}

}  // namespace segspec
