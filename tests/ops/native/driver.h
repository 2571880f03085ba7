// What the kernels need besides a processor: threads and scratch memory, both made to find mistakes.
#pragma once

#include <cstddef>

#include "choose.h"
#include "processor.h"

namespace segspec_test {

// Memory between two pages that nobody may touch, filled with bytes that are NaN as float32 and as bfloat16. It begins
// right behind the one page, or ends right before the other, but for less than `alignment` bytes.
class Guarded {
 public:
  enum class Flush { kStart, kEnd };
  Guarded(std::size_t bytes, Flush flush, std::size_t alignment);
  // Takes over what `release` gave.
  Guarded(void* data, std::size_t bytes, std::size_t alignment);
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  // Gives up memory that is flush with its end.
  void* release();

 private:
  void *mapped_, *data_;
  std::size_t whole_;
};

class NewThreads final : public segspec::Threads {
 public:
  explicit NewThreads(int count) : count_(count) {}

 private:
  void run(long count, Call call, const void* context) const override;

  const int count_;
};

// What segspec may be asked for on a processor.
struct Case {
  const char* name;
  segspec::Processor processor;
  segspec::Precision precision;
  double rounding;      // of numbers before they are multiplied
  bool (*supported)();  // by this processor; AMX is emulated

  bool bfloat16() const { return precision == segspec::Precision::bfloat16; }
  // The kernels that segspec takes on the case's processor.
  const segspec::Kernels* kernels(const segspec::Convolution& shape) const;
  const segspec::ChannelKernels* channel_kernels() const;
};

constexpr int kCases = 8;
extern const Case cases[kCases];

}  // namespace segspec_test
