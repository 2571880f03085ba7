#include "processor.h"

#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace segspec {
namespace {

// Linux gives the registers of AMX only to processes that ask for them.
bool ask_for_tiles() {
#if defined(__linux__)
  constexpr long arch_req_xcomp_perm = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, arch_req_xcomp_perm, tile_data) == 0;
#else
  return false;
#endif
}

// SEGSPEC_NATIVE names the best instruction set to use, for tests and comparisons; none makes the processor an old one.
bool allowed(const char* name) {
  static const char* const order[] = {"none", "avx2", "avx512", "avx512_bf16", "amx"};
  const char* const limit = std::getenv("SEGSPEC_NATIVE");
  if (limit == nullptr) return true;
  for (const char* const known : order) {
    if (std::strcmp(known, name) == 0) return true;
    if (std::strcmp(known, limit) == 0) return false;
  }
  return true;
}

Processor detect() {
  __builtin_cpu_init();
  Processor found = {};
  found.avx2 = allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  found.avx512 = found.avx2 && allowed("avx512") && __builtin_cpu_supports("avx512f") &&
                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512vl");
  found.avx512_bf16 = found.avx512 && allowed("avx512_bf16") && __builtin_cpu_supports("avx512bf16");
  found.amx = found.avx512_bf16 && allowed("amx") && __builtin_cpu_supports("amx-bf16") && ask_for_tiles();
  return found;
}

}  // namespace

Processor Processor::current() {
  static const Processor found = detect();
  return found;
}

const char* Processor::name() const {
  return amx ? "amx" : avx512_bf16 ? "avx512_bf16" : avx512 ? "avx512" : avx2 ? "avx2" : "";
}

}  // namespace segspec
