// Calls what XLA calls, from many threads at once on one pool of few: the results must be those of a call alone.
#include "handlers.cc"

#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <thread>

namespace segspec {

// AMX is emulated.
Processor Processor::current() {
  const bool bfloat16 = __builtin_cpu_supports("avx512bf16");
  return {__builtin_cpu_supports("avx2") != 0, __builtin_cpu_supports("avx512vl") != 0, bfloat16, bfloat16};
}

const char* Processor::name() const { return ""; }

}  // namespace segspec

namespace {

class FewThreads final : public ffi::Pool {
 public:
  explicit FewThreads(int count) {
    for (int thread = 0; thread < count; ++thread) threads_.emplace_back([this] { work(); });
  }
  ~FewThreads() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(threads_.size()); }
  void schedule(std::function<void()> task) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return ended_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

// A layer of a size of its own, forward and weight gradient, and the sums over its pixels.
class Layer {
 public:
  Layer(std::int64_t number, bool high)
      : high_(high),
        sizes_x_{1, 9 + number, 21, 16 + number},
        sizes_w_{3, 3, 16 + number, 24},
        sizes_y_{1, 9 + number, 21, 24},
        x_(count(sizes_x_)),
        w_(count(sizes_w_)) {
    std::mt19937 random(static_cast<unsigned>(number));
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& value : x_) value = uniform(random);
    for (float& value : w_) value = uniform(random);
  }

  // All results, one behind the other; empty where there are no kernels.
  std::vector<float> run(ffi::Pool* pool) const {
    static const std::int64_t one[2] = {1, 1};
    const segspec::Sizes ones(one, 2);
    std::vector<float> y(count(sizes_y_)), dw(count(sizes_w_)), mean(sizes_y_[3]), variance(mean), sums(mean);
    const auto buffer = [](const std::vector<float>& data, const std::int64_t* sizes) {
      return ffi::Buffer<ffi::F32>(ffi::F32, const_cast<float*>(data.data()), sizes);
    };
    const ffi::Error forward = segspec::convolve(
        ffi::ThreadPool(pool), buffer(x_, sizes_x_), buffer(w_, sizes_w_),
        ffi::Result<ffi::AnyBuffer>(buffer(y, sizes_y_)), ones, ones, ones, 1, false, high_);
    const ffi::Error backward = segspec::weight_gradient(
        ffi::ThreadPool(pool), buffer(x_, sizes_x_), buffer(y, sizes_y_),
        ffi::Result<ffi::Buffer<ffi::F32>>(buffer(dw, sizes_w_)), ones, ones, ones, 1, high_);
    const auto vector = [&](const std::vector<float>& data) {
      return ffi::Result<segspec::Numbers>(buffer(data, nullptr));
    };
    const ffi::Error summed = segspec::sum_channels(ffi::ThreadPool(pool), buffer(y, sizes_y_), vector(sums));
    const ffi::Error measured =
        segspec::moments(ffi::ThreadPool(pool), buffer(y, sizes_y_), vector(mean), vector(variance));
    for (const ffi::Error& error : {forward, backward, summed, measured})
      if (error.message() != nullptr) return {};
    for (const auto* each : {&dw, &sums, &mean, &variance}) y.insert(y.end(), each->begin(), each->end());
    return y;
  }

 private:
  static std::size_t count(const std::int64_t* sizes) {
    return static_cast<std::size_t>(sizes[0] * sizes[1] * sizes[2] * sizes[3]);
  }

  bool high_;
  std::int64_t sizes_x_[4], sizes_w_[4], sizes_y_[4];
  std::vector<float> x_, w_;
};

}  // namespace

int main() {
  if (!segspec::Processor::current().avx2) {
    std::printf("no kernels for this processor\n");
    return 0;
  }
  constexpr int callers = 8, repetitions = 6;
  FewThreads alone(1), pool(3);
  std::vector<Layer> layers;
  std::vector<std::vector<float>> wanted;
  for (int caller = 0; caller < callers; ++caller) {
    layers.emplace_back(caller, caller % 2 == 1);
    wanted.push_back(layers.back().run(&alone));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller) {
    threads.emplace_back([&, caller] {
      for (int repetition = 0; repetition < repetitions; ++repetition) {
        const std::vector<float> found = layers[caller].run(&pool);
        const bool same = !found.empty() && found.size() == wanted[caller].size() &&
                          std::memcmp(found.data(), wanted[caller].data(), found.size() * sizeof(float)) == 0;
        if (!same) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%d calls at once, %d wrong\n", callers * repetitions, wrong.load());
  return wrong == 0 ? 0 : 1;
}
