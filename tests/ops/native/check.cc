// Runs all kernels that this processor has on shapes that are small, odd or extreme, for sanitizers and guard pages to
// watch; compares with sums in double, and results on one thread with those on three.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "driver.h"

using segspec::Convolution;
using segspec_test::Guarded;

namespace {

const Convolution shapes[] = {
    // batch, input, output, kernel, stride, dilation, pad, in, out, groups, turned
    {1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, 1, 1, 1, false},
    {1, {1, 1}, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {2, 2}, 17, 33, 1, false},
    {2, {7, 9}, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 16, 16, 1, false},
    {2, {7, 9}, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 15, 31, 1, true},
    {1, {13, 41}, {13, 41}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 33, 47, 1, false},
    {1, {13, 41}, {13, 41}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 34, 64, 1, true},
    {1, {24, 33}, {24, 33}, {7, 7}, {1, 1}, {1, 1}, {3, 3}, 18, 40, 1, false},
    {1, {9, 12}, {9, 12}, {5, 1}, {1, 1}, {1, 1}, {2, 0}, 16, 48, 1, false},
    {1, {15, 17}, {8, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 24, 20, 1, false},
    {1, {11, 18}, {4, 6}, {2, 4}, {3, 3}, {1, 1}, {0, 1}, 40, 8, 1, false},
    {1, {14, 15}, {14, 15}, {3, 3}, {1, 1}, {6, 4}, {6, 4}, 32, 32, 1, false},
    {1, {10, 10}, {10, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 48, 96, 3, false},
    {1, {10, 10}, {10, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 48, 96, 3, true},
    {1, {4, 5}, {9, 9}, {2, 2}, {1, 1}, {1, 1}, {4, 3}, 16, 16, 1, false},    // windows that see zeros only
    {1, {12, 12}, {6, 6}, {3, 3}, {1, 1}, {1, 1}, {-3, -2}, 20, 20, 1, false},  // windows that begin inside
    {3, {1, 300}, {1, 300}, {1, 3}, {1, 1}, {1, 1}, {0, 1}, 8, 16, 1, false},
    {1, {70, 2}, {70, 2}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 65, 9, 1, false},
};

float read(const void* data, long place, bool bfloat16) {
  if (!bfloat16) return static_cast<const float*>(data)[place];
  const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(data)[place]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

void fill(void* data, long count, bool bfloat16, std::mt19937* random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (long place = 0; place < count; ++place) {
    const float value = uniform(*random);
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    if (bfloat16)
      static_cast<std::uint16_t*>(data)[place] = static_cast<std::uint16_t>(bits >> 16);
    else
      static_cast<float*>(data)[place] = value;
  }
}

// A sum, and that of the magnitudes of its terms.
struct Sum {
  double value = 0, size = 0;

  void add(double term) {
    value += term;
    size += std::abs(term);
  }
};

// Calls see(tap, output, x, c, w, o, y) for each product of a convolution, with the places of its numbers.
template <class See>
void each_product(const Convolution& s, const See& see) {
  const long inputs = s.group_inputs(), outputs = s.group_outputs();
  for (long n = 0; n < s.batch; ++n)
    for (long a = 0; a < s.output.height; ++a)
      for (long b = 0; b < s.output.width; ++b)
        for (long tap = 0; tap < s.taps(); ++tap) {
          const long row = a * s.stride.height + tap / s.kernel.width * s.dilation.height - s.pad.height;
          const long column = b * s.stride.width + tap % s.kernel.width * s.dilation.width - s.pad.width;
          if (row < 0 || row >= s.input.height || column < 0 || column >= s.input.width) continue;
          const long pixel = (n * s.input.height + row) * s.input.width + column;
          const long place = (n * s.output.height + a) * s.output.width + b;
          for (long o = 0; o < s.out_channels; ++o)
            for (long c = 0; c < inputs; ++c) {
              const long x = o / outputs * inputs + c;
              const long w = s.turned ? ((s.taps() - 1 - tap) * outputs + o % outputs) * s.in_channels + x
                                      : (tap * inputs + c) * s.out_channels + o;
              see(pixel * s.in_channels + x, w, place * s.out_channels + o);
            }
        }
}

struct Sizes {
  long x, w, y;
};

Sizes sizes(const Convolution& s) {
  return {s.batch * s.input.height * s.input.width * s.in_channels, s.taps() * s.group_inputs() * s.out_channels,
          s.batch * s.output.height * s.output.width * s.out_channels};
}

bool agrees(const void* found, bool bfloat16, const std::vector<Sum>& sums, double tolerance) {
  for (std::size_t place = 0; place < sums.size(); ++place) {
    const double rounding = bfloat16 ? std::abs(sums[place].value) * 0x1p-8 : 0;
    const double error = std::abs(read(found, static_cast<long>(place), bfloat16) - sums[place].value);
    if (!(error <= sums[place].size * tolerance + rounding)) return false;
  }
  return true;
}

// Both operations on one shape, arrays against the one or the other guard; names what is wrong.
std::string run(const segspec_test::Case& asked, const Convolution& shape, Guarded::Flush flush) {
  const Sizes count = sizes(shape);
  const bool bfloat16 = asked.bfloat16();
  const long bytes = bfloat16 ? 2 : 4;
  const Guarded x(count.x * bytes, flush, 1), g(count.y * bytes, flush, 1), w(count.w * 4, flush, 1);
  std::mt19937 random(1);
  fill(x.as<void>(), count.x, bfloat16, &random);
  fill(g.as<void>(), count.y, bfloat16, &random);
  fill(w.as<void>(), count.w, false, &random);

  const Guarded y(count.y * bytes, flush, 1), again(count.y * bytes, flush, 1);
  const segspec::Kernels* const kernels = asked.kernels(shape);
  if (kernels == nullptr) return asked.processor.avx2 ? "there are no kernels" : "";
  kernels->convolve(segspec_test::NewThreads(3), shape, x.as<void>(), w.as<float>(), y.as<void>());
  kernels->convolve(segspec_test::NewThreads(1), shape, x.as<void>(), w.as<float>(), again.as<void>());
  if (std::memcmp(y.as<void>(), again.as<void>(), count.y * bytes) != 0) return "convolve: depends on the threads";
  // Weights are rounded as the arrays are, which their size bounds.
  std::vector<Sum> sums(count.y);
  each_product(shape, [&](long x_place, long w_place, long y_place) {
    sums[y_place].add(static_cast<double>(read(x.as<void>(), x_place, bfloat16)) * w.as<float>()[w_place]);
  });
  const double depth = static_cast<double>(shape.taps() * shape.group_inputs());
  if (!agrees(y.as<void>(), bfloat16, sums, 2 * asked.rounding + depth * 0x1p-23)) return "convolve: wrong";
  if (shape.turned) return "";

  const Guarded dw(count.w * 4, flush, 1), second(count.w * 4, flush, 1);
  kernels->weight_gradient(segspec_test::NewThreads(3), shape, x.as<void>(), g.as<void>(), dw.as<float>());
  kernels->weight_gradient(segspec_test::NewThreads(1), shape, x.as<void>(), g.as<void>(), second.as<float>());
  if (std::memcmp(dw.as<void>(), second.as<void>(), count.w * 4) != 0) return "weight gradient: depends on the threads";
  std::vector<Sum> gradients(count.w);
  each_product(shape, [&](long x_place, long w_place, long y_place) {
    gradients[w_place].add(static_cast<double>(read(x.as<void>(), x_place, bfloat16)) *
                           read(g.as<void>(), y_place, bfloat16));
  });
  const double windows = static_cast<double>(shape.batch * shape.output.height * shape.output.width);
  const double tolerance = (bfloat16 ? 0 : 2 * asked.rounding) + windows * 0x1p-23;
  return agrees(dw.as<void>(), false, gradients, tolerance) ? "" : "weight gradient: wrong";
}

const segspec::Channels channel_shapes[] = {{1, 1}, {1, 70}, {7, 3}, {300, 16}, {5000, 65}, {129, 512}, {70000, 2}};

// The sums over pixels of one shape, arrays against the one or the other guard; names what is wrong.
std::string run(const segspec_test::Case& asked, const segspec::Channels& shape, Guarded::Flush flush) {
  const segspec::ChannelKernels* const kernels = asked.channel_kernels();
  if (kernels == nullptr) return asked.processor.avx2 ? "there are no kernels" : "";
  const long count = shape.pixels * shape.channels, bytes = count * (asked.bfloat16() ? 2 : 4);
  const long vector_bytes = shape.channels * static_cast<long>(sizeof(float));
  const Guarded x(bytes, flush, 1), g(bytes, flush, 1), vectors(3 * vector_bytes, flush, 1);
  std::mt19937 random(1);
  fill(x.as<void>(), count, asked.bfloat16(), &random);
  fill(g.as<void>(), count, asked.bfloat16(), &random);
  fill(vectors.as<void>(), 3 * shape.channels, false, &random);

  const Guarded dx(bytes, flush, 1), again(bytes, flush, 1);
  const Guarded sums(5 * vector_bytes, flush, 1), second(5 * vector_bytes, flush, 1);
  const auto run_all = [&](int threads, void* gradient, float* found) {
    const segspec_test::NewThreads pool(threads);
    const float* const by = vectors.as<float>();
    const long next = shape.channels;
    kernels->sum(pool, shape, x.as<void>(), found);
    kernels->moments(pool, shape, x.as<void>(), found + next, found + 2 * next);
    kernels->normalize_backward(pool, shape, x.as<void>(), g.as<void>(), {by, by + next, by + 2 * next}, gradient,
                                found + 3 * next, found + 4 * next);
  };
  run_all(3, dx.as<void>(), sums.as<float>());
  run_all(1, again.as<void>(), second.as<float>());
  if (std::memcmp(dx.as<void>(), again.as<void>(), bytes) != 0) return "normalize_backward: depends on the threads";
  if (std::memcmp(sums.as<void>(), second.as<void>(), 5 * vector_bytes) != 0) return "sums: depend on the threads";
  std::vector<Sum> exact(shape.channels);
  for (long place = 0; place < count; ++place)
    exact[place % shape.channels].add(read(x.as<void>(), place, asked.bfloat16()));
  return agrees(sums.as<void>(), false, exact, 0x1p-18) ? "" : "sum: wrong";
}

}  // namespace

int main() {
  int wrong = 0, right = 0;
  const auto count = [&](const segspec_test::Case& asked, long number, const std::string& reason) {
    reason.empty() ? ++right : ++wrong;
    if (!reason.empty()) std::fprintf(stderr, "%s, shape %ld: %s\n", asked.name, number, reason.c_str());
  };
  for (const segspec_test::Case& asked : segspec_test::cases) {
    if (!asked.supported()) {
      std::printf("not %s; ", asked.name);
      continue;
    }
    for (const Guarded::Flush flush : {Guarded::Flush::kStart, Guarded::Flush::kEnd}) {
      for (const Convolution& shape : shapes) count(asked, &shape - shapes, run(asked, shape, flush));
      for (const segspec::Channels& shape : channel_shapes)
        count(asked, &shape - channel_shapes, run(asked, shape, flush));
    }
  }
  std::printf("%d checks, %d wrong\n", right + wrong, wrong);
  return wrong == 0 ? 0 : 1;
}
