// Stands in for the header of the same name in XLA: what handlers.cc uses of it, for calls without XLA.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#define XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function, binding)

namespace xla::ffi {

enum DataType { F32, BF16 };
enum class ErrorCode { kUnimplemented, kResourceExhausted };

class Error {
 public:
  Error(ErrorCode, const char* message) : message_(message) {}
  static Error Success() { return {ErrorCode::kUnimplemented, nullptr}; }
  const char* message() const { return message_; }

 private:
  const char* message_;
};

template <class T>
class Span {
 public:
  explicit Span(T* data, std::size_t size) : data_(data), size_(size) {}
  T& operator[](std::size_t place) const { return data_[place]; }
  T& back() const { return data_[size_ - 1]; }

 private:
  T* data_;
  std::size_t size_;
};

// An array of four axes, or what takes its place where nobody asks for axes.
class AnyBuffer {
 public:
  using Dimensions = Span<const std::int64_t>;
  AnyBuffer(DataType type, void* data, const std::int64_t* dimensions) : type_(type), data_(data), sizes_(dimensions) {}
  DataType element_type() const { return type_; }
  void* untyped_data() const { return data_; }
  Dimensions dimensions() const { return Dimensions(sizes_, 4); }
  std::size_t element_count() const { return static_cast<std::size_t>(sizes_[0] * sizes_[1] * sizes_[2] * sizes_[3]); }

 private:
  DataType type_;
  void* data_;
  const std::int64_t* sizes_;
};

template <DataType type>
class Buffer : public AnyBuffer {
 public:
  using AnyBuffer::AnyBuffer;
  float* typed_data() const { return static_cast<float*>(untyped_data()); }
};

template <class T>
class Result {
 public:
  explicit Result(T value) : value_(value) {}
  T* operator->() { return &value_; }

 private:
  T value_;
};

// Who runs what is scheduled; calls may come from any thread.
struct Pool {
  virtual std::int64_t size() const = 0;
  virtual void schedule(std::function<void()> task) = 0;

 protected:
  ~Pool() = default;
};

class ThreadPool {
 public:
  explicit ThreadPool(Pool* pool) : pool_(pool) {}
  std::int64_t num_threads() const { return pool_->size(); }
  void Schedule(std::function<void()> task) { pool_->schedule(std::move(task)); }

 private:
  Pool* pool_;
};

}  // namespace xla::ffi
