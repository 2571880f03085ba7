// Sums over all pixels of a batch, a channel each: for batch normalisation and for biases. One template for all
// instruction sets.
//
// Arrays are (pixels, channels). The pixels are cut into parts that fit the second cache, so that a part is read from
// further away only once; how many there are depends on the sizes alone, and so do the results. Sums of a part are formed
// in float32, those of all parts in double.
//
//   parts     sums [part][sum][channel]
//   +------+
//   |  ^   |  pixels          a register holds `lanes` channels; a run of kRun registers walks down the part
//   |  |   |
//   |  v   |
//   +------+
#pragma once

#include "tile.h"

namespace segspec {
namespace {

constexpr long kPartBytes = 128 << 10;
constexpr long kPartPixels = 1024;  // errors grow with the terms of a sum
constexpr int kRun = 4;  // sums that do not wait for each other

// Calls body(channel, lanes) for each run of registers: the first channel, and which lanes of each register count.
template <class Isa, class Body>
SEGSPEC_INLINE void each_run(long channels, const Body& body) {
  for (long channel = 0; channel < channels; channel += kRun * Isa::lanes) {
    typename Isa::Mask lanes[kRun];
#pragma GCC unroll 4
    for (int v = 0; v < kRun; ++v) lanes[v] = Isa::first(channels - channel - v * Isa::lanes);
    body(channel, lanes);
  }
}

// The parts of an array.
struct Parts {
  long pixels, count;

  Parts(const Channels& shape, long number_bytes)
      : pixels(shape.pixels),
        count(smaller(pixels, larger(ceil_div(pixels * shape.channels * number_bytes, kPartBytes),
                                     ceil_div(pixels, kPartPixels)))) {}

  long begin(long part) const { return share(pixels, count, part); }
  long size(long part) const { return begin(part + 1) - begin(part); }
};

// The sums of a part.
template <class Isa, class Number>
void sum_part(const Number* x, long pixels, long channels, float* sums) {
  each_run<Isa>(channels, [&](long channel, const typename Isa::Mask* lanes) {
    typename Isa::Vector sum[kRun];
#pragma GCC unroll 4
    for (int v = 0; v < kRun; ++v) sum[v] = Isa::zero();
    const Number* from = x + channel;
    for (long pixel = 0; pixel < pixels; ++pixel, from += channels) {
#pragma GCC unroll 4
      for (int v = 0; v < kRun; ++v) sum[v] = Isa::add(sum[v], Isa::load_part(from + v * Isa::lanes, lanes[v]));
    }
#pragma GCC unroll 4
    for (int v = 0; v < kRun; ++v) Isa::store_part(sums + channel + v * Isa::lanes, lanes[v], sum[v]);
  });
}

// Over a part the sums of numbers, and of their products with x - centre. `number(place, lanes, centred)` gives those of a
// register: from their place in the array, or from x - centre itself.
template <class Isa, class Number, class Numbers>
void sum_products(const Number* x, long pixels, long channels, const float* centres, const Numbers& number, float* sums,
                  float* products) {
  each_run<Isa>(channels, [&](long channel, const typename Isa::Mask* lanes) {
    typename Isa::Vector sum[kRun], product[kRun], centre[kRun];
#pragma GCC unroll 4
    for (int v = 0; v < kRun; ++v) {
      sum[v] = product[v] = Isa::zero();
      centre[v] = Isa::load_part(centres + channel + v * Isa::lanes, lanes[v]);
    }
    for (long place = channel; place < pixels * channels; place += channels) {
#pragma GCC unroll 4
      for (int v = 0; v < kRun; ++v) {
        const long here = place + v * Isa::lanes;
        const typename Isa::Vector centred = Isa::subtract(Isa::load_part(x + here, lanes[v]), centre[v]);
        const typename Isa::Vector factor = number(here, lanes[v], centred);
        sum[v] = Isa::add(sum[v], factor);
        product[v] = Isa::multiply_add(factor, centred, product[v]);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kRun; ++v) {
      Isa::store_part(sums + channel + v * Isa::lanes, lanes[v], sum[v]);
      Isa::store_part(products + channel + v * Isa::lanes, lanes[v], product[v]);
    }
  });
}

// dx = factor (g - centre of g) - slope (x - mean) over a part.
template <class Isa, class Number>
void write_gradients(const Number* x, const Number* g, long pixels, long channels, const float* mean,
                     const float* gradient_mean, const float* factor, const float* slope, Number* dx) {
  each_run<Isa>(channels, [&](long channel, const typename Isa::Mask* lanes) {
    typename Isa::Vector centre[kRun], gradient_centre[kRun], factors[kRun], slopes[kRun];
#pragma GCC unroll 4
    for (int v = 0; v < kRun; ++v) {
      centre[v] = Isa::load_part(mean + channel + v * Isa::lanes, lanes[v]);
      gradient_centre[v] = Isa::load_part(gradient_mean + channel + v * Isa::lanes, lanes[v]);
      factors[v] = Isa::load_part(factor + channel + v * Isa::lanes, lanes[v]);
      slopes[v] = Isa::load_part(slope + channel + v * Isa::lanes, lanes[v]);
    }
    for (long pixel = 0; pixel < pixels; ++pixel) {
      const long place = pixel * channels + channel;
#pragma GCC unroll 4
      for (int v = 0; v < kRun; ++v) {
        const typename Isa::Vector gradient = Isa::load_part(g + place + v * Isa::lanes, lanes[v]);
        const typename Isa::Vector value = Isa::load_part(x + place + v * Isa::lanes, lanes[v]);
        const typename Isa::Vector rising = Isa::multiply(factors[v], Isa::subtract(gradient, gradient_centre[v]));
        const typename Isa::Vector falling = Isa::multiply(slopes[v], Isa::subtract(value, centre[v]));
        Isa::store_part(dx + place + v * Isa::lanes, lanes[v], Isa::subtract(rising, falling));
      }
    }
  });
}

// A channel's sum over all parts, whose sums lie `step` apart.
inline double sum_all(const float* sums, long parts, long step) {
  double sum = 0;
  for (long part = 0; part < parts; ++part) sum += sums[part * step];
  return sum;
}

template <class Isa, class Number>
void sum_channels(const Threads& threads, const Channels& shape, const void* x, float* sums) {
  const Parts parts(shape, sizeof(Number));
  const long channels = shape.channels;
  const Scratch memory(parts.count * channels * sizeof(float));
  float* const found = memory.as<float>();
  threads.each(parts.count, [&](long part) {
    sum_part<Isa>(static_cast<const Number*>(x) + parts.begin(part) * channels, parts.size(part), channels,
                  found + part * channels);
  });
  for (long channel = 0; channel < channels; ++channel)
    sums[channel] = static_cast<float>(sum_all(found + channel, parts.count, channels));
}

// Each part's mean, nearly; the deviations from that and their squares; then those of all parts together: Chan, Golub and
// LeVeque 1979. Means that are large beside the deviations do no harm.
template <class Isa, class Number>
void find_moments(const Threads& threads, const Channels& shape, const void* x, float* mean, float* variance) {
  const Parts parts(shape, sizeof(Number));
  const long channels = shape.channels;
  const Scratch memory(3 * parts.count * channels * sizeof(float));
  float* const found = memory.as<float>();
  threads.each(parts.count, [&](long part) {
    const Number* const from = static_cast<const Number*>(x) + parts.begin(part) * channels;
    float* const centres = found + 3 * part * channels;
    sum_part<Isa>(from, parts.size(part), channels, centres);
    for (long channel = 0; channel < channels; ++channel) centres[channel] /= static_cast<float>(parts.size(part));
    const auto itself = [](long, typename Isa::Mask, typename Isa::Vector centred) { return centred; };
    sum_products<Isa>(from, parts.size(part), channels, centres, itself, centres + channels, centres + 2 * channels);
  });
  for (long channel = 0; channel < channels; ++channel) {
    double count = 0, centre = 0, squares = 0;
    for (long part = 0; part < parts.count; ++part) {
      const float* const of_part = found + 3 * part * channels + channel;
      const double size = static_cast<double>(parts.size(part)), total = count + size, sum = of_part[channels];
      const double apart = of_part[0] + sum / size - centre;
      squares += of_part[2 * channels] - sum * sum / size + apart * apart * count * size / total;
      centre += apart * size / total;
      count = total;
    }
    mean[channel] = static_cast<float>(centre);
    // Rounding leaves the variance of a large constant a little below 0, which has no square root.
    variance[channel] = squares < 0 ? 0 : static_cast<float>(squares / count);
  }
}

template <class Isa, class Number>
void normalize_backward(const Threads& threads, const Channels& shape, const void* x_array, const void* g_array,
                        const Normalization& by, void* dx_array, float* dscale, float* dshift) {
  const Parts parts(shape, sizeof(Number));
  const long channels = shape.channels;
  const Number *const x = static_cast<const Number*>(x_array), *const g = static_cast<const Number*>(g_array);
  const Scratch memory((2 * parts.count + 3) * channels * sizeof(float));
  float* const found = memory.as<float>();
  threads.each(parts.count, [&](long part) {
    const long place = parts.begin(part) * channels;
    float* const sums = found + 2 * part * channels;
    const auto gradient = [&](long here, typename Isa::Mask lanes, typename Isa::Vector) {
      return Isa::load_part(g + place + here, lanes);
    };
    sum_products<Isa>(x + place, parts.size(part), channels, by.mean, gradient, sums, sums + channels);
  });
  float* const gradient_mean = found + 2 * parts.count * channels;
  float *const factor = gradient_mean + channels, *const slope = factor + channels;
  const float share_of_pixel = 1 / static_cast<float>(shape.pixels);
  for (long channel = 0; channel < channels; ++channel) {
    dshift[channel] = static_cast<float>(sum_all(found + channel, parts.count, 2 * channels));
    const double products = sum_all(found + channels + channel, parts.count, 2 * channels);
    dscale[channel] = static_cast<float>(products * by.inverse[channel]);
    gradient_mean[channel] = dshift[channel] * share_of_pixel;
    factor[channel] = by.scale[channel] * by.inverse[channel];
    slope[channel] = factor[channel] * by.inverse[channel] * dscale[channel] * share_of_pixel;
  }
  threads.each(parts.count, [&](long part) {
    const long place = parts.begin(part) * channels;
    write_gradients<Isa>(x + place, g + place, parts.size(part), channels, by.mean, gradient_mean, factor, slope,
                         static_cast<Number*>(dx_array) + place);
  });
}

template <class Isa, class Number>
constexpr ChannelKernels channel_kernels() {
  return {sum_channels<Isa, Number>, find_moments<Isa, Number>, normalize_backward<Isa, Number>};
}

}  // namespace
}  // namespace segspec
