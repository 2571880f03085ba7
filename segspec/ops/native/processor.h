// Which instructions this processor has, and the system lets us use.
#pragma once

namespace segspec {

struct Processor {
  bool avx2, avx512, avx512_bf16, amx;

  static Processor current();
  const char* name() const;
};

}  // namespace segspec
