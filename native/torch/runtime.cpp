// Threads, random numbers, autocast, and what this machine is good at.
#include "rows.h"
#include "shim.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/Version.h>

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <mutex>

using dm::Handle;

// ATen's threads, and OpenBLAS's where that is the system's BLAS: it keeps a pool of its own, which ATen does not know.
DM_API void dm_set_threads(int threads) {
  at::set_num_threads(threads);
  if (void* blas = dlopen("libopenblas.so.0", RTLD_LAZY | RTLD_NOLOAD)) {
    if (auto set = reinterpret_cast<void (*)(int)>(dlsym(blas, "openblas_set_num_threads"))) set(threads);
    dlclose(blas);
  }
}
DM_API int dm_get_threads() { return at::get_num_threads(); }

DM_API int dm_set_interop_threads(int threads) {
  return dm::guarded([&] { at::set_num_interop_threads(threads); });
}
DM_API int dm_get_interop_threads() { return at::get_num_interop_threads(); }

// ---- random numbers of the CPU's default generator -------------------------------------------------------------------------
static at::Generator& generator() {
  static at::Generator instance = at::detail::getDefaultCPUGenerator();
  return instance;
}

DM_API void dm_manual_seed(uint64_t seed) {
  std::lock_guard<std::mutex> lock(generator().mutex());
  generator().set_current_seed(seed);
}
DM_API uint64_t dm_seed() {
  std::lock_guard<std::mutex> lock(generator().mutex());
  return generator().seed();
}
DM_API uint64_t dm_initial_seed() {
  std::lock_guard<std::mutex> lock(generator().mutex());
  return generator().current_seed();
}
DM_API int dm_get_rng_state(Handle* out) {
  return dm::guarded([&] {
    std::lock_guard<std::mutex> lock(generator().mutex());
    *out = dm::give(generator().get_state());
  });
}
DM_API int dm_set_rng_state(Handle state) {
  return dm::guarded([&] {
    std::lock_guard<std::mutex> lock(generator().mutex());
    generator().set_state(dm::borrow(state));
  });
}

// ---- autocast of the calling thread, CPU, bfloat16 -----------------------------------------------------------------------
DM_API int dm_autocast_enter(int on) {
  const int before = at::autocast::is_cpu_enabled();
  at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
  at::autocast::set_cpu_enabled(on != 0);
  at::autocast::increment_nesting();
  return before;
}
DM_API void dm_autocast_leave(int before) {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_cpu_enabled(before != 0);
}

// As at::show_config() reports it.
DM_API const char* dm_configuration() {
  static const std::string text = at::show_config();
  return text.c_str();
}

// 1: AVX2, 2: AVX-512, 4: AVX512-BF16, 8: AMX-BF16.
DM_API int dm_instruction_sets() {
  int sets = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) sets |= 1;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) sets |= 2;
  if (__builtin_cpu_supports("avx512bf16")) sets |= 4;
  unsigned a, b, c, d;
  __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
  if ((d >> 22) & 1) sets |= 8;
#endif
  return sets;
}

namespace dm {

static std::atomic<int> highest_level{2};

int vector_level() {
  static const int level = [] {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
  }();
  return std::min(level, highest_level.load(std::memory_order_relaxed));
}

}  // namespace dm

DM_API void dm_limit_vector_level(int level) { dm::highest_level = level; }
