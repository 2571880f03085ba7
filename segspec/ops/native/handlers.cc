// What XLA calls: custom calls, the choice of kernels for this processor, threads and scratch memory.
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "choose.h"
#include "processor.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace segspec {

// ---- scratch memory

namespace {

// Blocks that nobody uses at the moment; the largest step of a training needs a few, and every step the same ones.
class Store {
 public:
  // The smallest block that is large enough, or null.
  void* take(std::size_t bytes, std::size_t* found) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto best = blocks_.end();
    for (auto block = blocks_.begin(); block != blocks_.end(); ++block)
      if (block->bytes >= bytes && (best == blocks_.end() || block->bytes < best->bytes)) best = block;
    if (best == blocks_.end()) return nullptr;
    void* const memory = best->memory;
    *found = best->bytes;
    kept_ -= best->bytes;
    blocks_.erase(best);
    return memory;
  }

  void put(void* memory, std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_.push_back({memory, bytes});
    kept_ += bytes;
    // Oldest first: shapes change, and blocks that fitted the old ones are not asked for again.
    while (kept_ > kKept && blocks_.size() > 1) {
      std::free(blocks_.front().memory);
      kept_ -= blocks_.front().bytes;
      blocks_.erase(blocks_.begin());
    }
  }

 private:
  struct Memory {
    void* memory;
    std::size_t bytes;
  };
  static constexpr std::size_t kKept = std::size_t{64} << 20;
  std::mutex mutex_;
  std::vector<Memory> blocks_;
  std::size_t kept_ = 0;
};

Store& store() {
  static Store* const kept = new Store;  // never destroyed: threads of XLA may outlive static objects
  return *kept;
}

}  // namespace

Scratch::Scratch(std::size_t bytes) : memory_(nullptr), bytes_((bytes + 4095) & ~std::size_t{4095}) {
  if (bytes == 0) return;
  memory_ = store().take(bytes_, &bytes_);
  if (memory_ == nullptr) memory_ = std::aligned_alloc(4096, bytes_);
  if (memory_ == nullptr) throw std::bad_alloc();
}

Scratch::~Scratch() {
  if (memory_ != nullptr) store().put(memory_, bytes_);
}

// ---- threads

namespace {

// The tasks of one call. The calling thread takes tasks like any other, and waits only for tasks that have begun: however
// busy the pool is, every call ends.
struct Batch {
  Batch(long tasks, void (*function)(const void*, long), const void* argument)
      : count(tasks), call(function), context(argument) {}

  void work() {
    for (long task = next.fetch_add(1); task < count; task = next.fetch_add(1)) {
      try {
        call(context, task);
      } catch (...) {
        failed.store(true);
      }
      if (done.fetch_add(1) + 1 == count) {
        const std::lock_guard<std::mutex> lock(mutex);
        all_done.notify_all();
      }
    }
  }

  void wait() {
    // The last tasks of a batch mostly end within microseconds; going to sleep and being woken takes tens of them.
    for (int turn = 0; turn < kTurns && done.load() < count; ++turn) __builtin_ia32_pause();
    std::unique_lock<std::mutex> lock(mutex);
    all_done.wait(lock, [this] { return done.load() == count; });
  }

  static constexpr int kTurns = 4000;
  const long count;
  void (*const call)(const void*, long);
  const void* const context;
  std::atomic<long> next{0}, done{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::condition_variable all_done;
};

class PoolThreads final : public Threads {
 public:
  explicit PoolThreads(ffi::ThreadPool pool) : pool_(pool) {}

 private:
  void run(long count, Call call, const void* context) const override {
    if (count <= 0) return;
    // Shared: a helper that the pool starts late finds no task left, but still reads the counter.
    const auto batch = std::make_shared<Batch>(count, call, context);
    const long helpers = std::min<long>(pool_.num_threads(), count) - 1;
    for (long helper = 0; helper < helpers; ++helper)
      const_cast<ffi::ThreadPool&>(pool_).Schedule([batch] { batch->work(); });
    batch->work();
    batch->wait();
    if (batch->failed.load()) throw std::bad_alloc();
  }

  ffi::ThreadPool pool_;
};

// ---- custom calls

using Sizes = ffi::Span<const std::int64_t>;
using Numbers = ffi::Buffer<ffi::F32>;

Convolution describe(ffi::AnyBuffer::Dimensions x, ffi::AnyBuffer::Dimensions w, ffi::AnyBuffer::Dimensions y, Sizes stride,
                     Sizes pad, Sizes dilation, std::int64_t groups, bool turned) {
  return {x[0],   {x[1], x[2]}, {y[1], y[2]}, {w[0], w[1]}, {stride[0], stride[1]}, {dilation[0], dilation[1]},
          {pad[0], pad[1]}, x[3], y[3], groups, turned};
}

Precision precision(const ffi::AnyBuffer& x, bool high) {
  if (x.element_type() == ffi::BF16) return Precision::bfloat16;
  return high ? Precision::high : Precision::float32;
}

// Runs a kernel, if there is one; what it throws must not reach XLA.
template <class Chosen, class Run>
ffi::Error call(const Chosen* kernels, const Run& run) {
  if (kernels == nullptr) return ffi::Error(ffi::ErrorCode::kUnimplemented, "segspec: no kernel for this processor");
  try {
    run(*kernels);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "segspec: no memory for a kernel");
  }
  return ffi::Error::Success();
}

ffi::Error convolve(ffi::ThreadPool pool, ffi::AnyBuffer x, Numbers w, ffi::Result<ffi::AnyBuffer> y, Sizes stride,
                    Sizes pad, Sizes dilation, std::int64_t groups, bool turned, bool high) {
  const Convolution shape =
      describe(x.dimensions(), w.dimensions(), y->dimensions(), stride, pad, dilation, groups, turned);
  return call(choose(shape, precision(x, high)), [&](const Kernels& kernels) {
    kernels.convolve(PoolThreads(pool), shape, x.untyped_data(), w.typed_data(), y->untyped_data());
  });
}

ffi::Error weight_gradient(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer g, ffi::Result<Numbers> dw,
                           Sizes stride, Sizes pad, Sizes dilation, std::int64_t groups, bool high) {
  const Convolution shape =
      describe(x.dimensions(), dw->dimensions(), g.dimensions(), stride, pad, dilation, groups, false);
  return call(choose(shape, precision(x, high)), [&](const Kernels& kernels) {
    kernels.weight_gradient(PoolThreads(pool), shape, x.untyped_data(), g.untyped_data(), dw->typed_data());
  });
}

Channels describe(const ffi::AnyBuffer& x) {
  const long channels = x.dimensions().back();
  return {static_cast<long>(x.element_count()) / channels, channels};
}

ffi::Error sum_channels(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::Result<Numbers> sums) {
  return call(choose_channels(x.element_type() == ffi::BF16), [&](const ChannelKernels& kernels) {
    kernels.sum(PoolThreads(pool), describe(x), x.untyped_data(), sums->typed_data());
  });
}

ffi::Error moments(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::Result<Numbers> mean, ffi::Result<Numbers> variance) {
  return call(choose_channels(x.element_type() == ffi::BF16), [&](const ChannelKernels& kernels) {
    kernels.moments(PoolThreads(pool), describe(x), x.untyped_data(), mean->typed_data(), variance->typed_data());
  });
}

ffi::Error normalize_backward(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer g, Numbers mean, Numbers inverse,
                              Numbers scale, ffi::Result<ffi::AnyBuffer> dx, ffi::Result<Numbers> dscale,
                              ffi::Result<Numbers> dshift) {
  return call(choose_channels(x.element_type() == ffi::BF16), [&](const ChannelKernels& kernels) {
    kernels.normalize_backward(PoolThreads(pool), describe(x), x.untyped_data(), g.untyped_data(),
                               {mean.typed_data(), inverse.typed_data(), scale.typed_data()}, dx->untyped_data(),
                               dscale->typed_data(), dshift->typed_data());
  });
}

}  // namespace
}  // namespace segspec

// What the library shows to the outside.
#pragma GCC visibility push(default)

XLA_FFI_DEFINE_HANDLER_SYMBOL(segspec_convolve, segspec::convolve,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<segspec::Numbers>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<segspec::Sizes>("stride")
                                  .Attr<segspec::Sizes>("pad")
                                  .Attr<segspec::Sizes>("dilation")
                                  .Attr<std::int64_t>("groups")
                                  .Attr<bool>("turned")
                                  .Attr<bool>("high"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(segspec_weight_gradient, segspec::weight_gradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<segspec::Numbers>()
                                  .Attr<segspec::Sizes>("stride")
                                  .Attr<segspec::Sizes>("pad")
                                  .Attr<segspec::Sizes>("dilation")
                                  .Attr<std::int64_t>("groups")
                                  .Attr<bool>("high"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(segspec_sum_channels, segspec::sum_channels,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>().Ret<segspec::Numbers>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(segspec_moments, segspec::moments,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<segspec::Numbers>()
                                  .Ret<segspec::Numbers>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(segspec_normalize_backward, segspec::normalize_backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<segspec::Numbers>()
                                  .Arg<segspec::Numbers>()
                                  .Arg<segspec::Numbers>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<segspec::Numbers>()
                                  .Ret<segspec::Numbers>());

// What this processor can do: the name of the best instructions in use.
extern "C" const char* segspec_processor() { return segspec::Processor::current().name(); }

// Counted up, as INTERFACE in library.py, when the arguments of these functions change: a library of older sources is then
// left alone.
extern "C" std::int64_t segspec_interface() { return 2; }

#pragma GCC visibility pop
