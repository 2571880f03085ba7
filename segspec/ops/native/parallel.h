// Work spread over threads that already exist, and memory that is kept from call to call.
//
// Kernels are compiled for several instruction sets. An inline function of the standard library that was compiled for the
// newest could be the one copy that the linker keeps for all; so kernels include none, and what they share is inlined.
#pragma once

#include <cstddef>

#define SEGSPEC_INLINE inline __attribute__((always_inline))

namespace segspec {

class Threads {
 public:
  // Calls body(number) for 0 to count - 1, on the calling thread and on others; returns when all calls have ended.
  template <class Body>
  SEGSPEC_INLINE void each(long count, const Body& body) const {
    run(count, [](const void* context, long number) { (*static_cast<const Body*>(context))(number); }, &body);
  }

 protected:
  using Call = void (*)(const void* context, long number);
  virtual void run(long count, Call call, const void* context) const = 0;
  ~Threads() = default;
};

// The calling thread alone, inside a task.
class Alone final : public Threads {
 private:
  void run(long count, Call call, const void* context) const override {
    for (long number = 0; number < count; ++number) call(context, number);
  }
};

// Memory aligned to a page, from a store of blocks that earlier calls have left. Its content is arbitrary.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  SEGSPEC_INLINE T* as() const {
    return static_cast<T*>(memory_);
  }

 private:
  void* memory_;
  std::size_t bytes_;
};

}  // namespace segspec
