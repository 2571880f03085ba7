// Runs the kernels without XLA: from Python through ctypes, or from check.cc.
#include "driver.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace segspec_test {
namespace {

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

segspec::Processor pretended = {};

bool has_nothing() { return true; }
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_bfloat16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

}  // namespace

Guarded::Guarded(std::size_t bytes, Flush flush, std::size_t alignment) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), inner = round_up(bytes, page);
  whole_ = inner + 2 * page;
  mapped_ = mmap(nullptr, whole_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped_ == MAP_FAILED) throw std::bad_alloc();
  char* const first = static_cast<char*>(mapped_) + page;
  std::memset(first, 0xff, inner);
  if (mprotect(mapped_, page, PROT_NONE) != 0 || mprotect(first + inner, page, PROT_NONE) != 0) std::abort();
  data_ = flush == Flush::kStart ? first : first + inner - round_up(bytes, alignment);
}

Guarded::Guarded(void* data, std::size_t bytes, std::size_t alignment) : data_(data) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), inner = round_up(bytes, page);
  whole_ = inner + 2 * page;
  mapped_ = static_cast<char*>(data) + round_up(bytes, alignment) - inner - page;
}

Guarded::~Guarded() {
  if (mapped_ != nullptr) munmap(mapped_, whole_);
}

void* Guarded::release() {
  mapped_ = nullptr;
  return data_;
}

void NewThreads::run(long count, Call call, const void* context) const {
  std::atomic<long> next{0};
  const auto work = [&] {
    for (long task = next.fetch_add(1); task < count; task = next.fetch_add(1)) call(context, task);
  };
  std::vector<std::thread> threads;
  for (int helper = 1; helper < count_ && helper < count; ++helper) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

const segspec::Kernels* Case::kernels(const segspec::Convolution& shape) const {
  pretended = processor;
  return choose(shape, precision);
}

const segspec::ChannelKernels* Case::channel_kernels() const {
  pretended = processor;
  return segspec::choose_channels(bfloat16());
}

using segspec::Precision;

const Case cases[kCases] = {
    {"none float32", {false, false, false, false}, Precision::float32, 0, has_nothing},
    {"avx2 float32", {true, false, false, false}, Precision::float32, 0x1p-24, has_avx2},
    {"avx2 high", {true, false, false, false}, Precision::high, 0x1p-22, has_avx2},
    {"avx512 float32", {true, true, false, false}, Precision::float32, 0x1p-24, has_avx512},
    {"avx512 high", {true, true, false, false}, Precision::high, 0x1p-22, has_avx512},
    {"avx512_bf16 bfloat16", {true, true, true, false}, Precision::bfloat16, 0x1p-9, has_bfloat16},
    {"amx high", {true, true, true, true}, Precision::high, 0x1.8p-16, has_bfloat16},
    {"amx bfloat16", {true, true, true, true}, Precision::bfloat16, 0x1p-9, has_bfloat16},
};

}  // namespace segspec_test

// ---- what the library has otherwise: the processor, scratch memory

namespace segspec {

Processor Processor::current() { return segspec_test::pretended; }

using segspec_test::Guarded;

constexpr std::size_t kAlignment = 64;

Scratch::Scratch(std::size_t bytes) : memory_(nullptr), bytes_(bytes) {
  if (bytes > 0) memory_ = Guarded(bytes, Guarded::Flush::kEnd, kAlignment).release();
}

Scratch::~Scratch() {
  if (memory_ != nullptr) Guarded(memory_, bytes_, kAlignment);
}

}  // namespace segspec

// ---- for Python

using segspec_test::Guarded;

// Runs a case by its number on dense arrays; sizes in the order of segspec::Convolution. Returns whether there are
// kernels. Arrays are copied to the ends of pages, so that what is read beyond them is found.
extern "C" int segspec_run(int number, int gradient, const long* sizes, const void* a, const void* b, void* result,
                           const std::size_t* bytes, int threads) {
  const segspec::Convolution shape = {sizes[0],
                                      {sizes[1], sizes[2]},
                                      {sizes[3], sizes[4]},
                                      {sizes[5], sizes[6]},
                                      {sizes[7], sizes[8]},
                                      {sizes[9], sizes[10]},
                                      {sizes[11], sizes[12]},
                                      sizes[13],
                                      sizes[14],
                                      sizes[15],
                                      sizes[16] != 0};
  const segspec::Kernels* const kernels = segspec_test::cases[number].kernels(shape);
  if (kernels == nullptr) return 0;
  const Guarded first(bytes[0], Guarded::Flush::kEnd, 1), second(bytes[1], Guarded::Flush::kEnd, 1),
      found(bytes[2], Guarded::Flush::kEnd, 1);
  std::memcpy(first.as<void>(), a, bytes[0]);
  std::memcpy(second.as<void>(), b, bytes[1]);
  const segspec_test::NewThreads pool(threads);
  if (gradient)
    kernels->weight_gradient(pool, shape, first.as<void>(), second.as<void>(), found.as<float>());
  else
    kernels->convolve(pool, shape, first.as<void>(), second.as<float>(), found.as<void>());
  std::memcpy(result, found.as<void>(), bytes[2]);
  return 1;
}

// Sums over the pixels of x and g (pixels, channels); `vectors` are mean, inverse and scale. Fills dx, and the sums of x, its
// mean, its variance, dscale and dshift one after the other. Returns whether there are kernels.
extern "C" int segspec_run_channels(int number, long pixels, long channels, const void* x, const void* g,
                                    const float* vectors, void* dx, float* found, int threads) {
  const segspec_test::Case& asked = segspec_test::cases[number];
  const segspec::ChannelKernels* const kernels = asked.channel_kernels();
  if (kernels == nullptr) return 0;
  const std::size_t bytes = pixels * channels * (asked.bfloat16() ? 2 : 4), vector_bytes = channels * sizeof(float);
  const Guarded first(bytes, Guarded::Flush::kEnd, 1), second(bytes, Guarded::Flush::kEnd, 1),
      gradient(bytes, Guarded::Flush::kEnd, 1), used(3 * vector_bytes, Guarded::Flush::kEnd, 1),
      sums(5 * vector_bytes, Guarded::Flush::kEnd, 1);
  std::memcpy(first.as<void>(), x, bytes);
  std::memcpy(second.as<void>(), g, bytes);
  std::memcpy(used.as<void>(), vectors, 3 * vector_bytes);
  const segspec_test::NewThreads pool(threads);
  const segspec::Channels shape = {pixels, channels};
  const float* const by = used.as<float>();
  float* const to = sums.as<float>();
  kernels->sum(pool, shape, first.as<void>(), to);
  kernels->moments(pool, shape, first.as<void>(), to + channels, to + 2 * channels);
  kernels->normalize_backward(pool, shape, first.as<void>(), second.as<void>(), {by, by + channels, by + 2 * channels},
                              gradient.as<void>(), to + 3 * channels, to + 4 * channels);
  std::memcpy(dx, gradient.as<void>(), bytes);
  std::memcpy(found, sums.as<void>(), 5 * vector_bytes);
  return 1;
}

// A case by its number; null for one that this processor cannot run, empty after the last.
extern "C" const char* segspec_case(int number) {
  if (number >= segspec_test::kCases) return "";
  return segspec_test::cases[number].supported() ? segspec_test::cases[number].name : nullptr;
}
