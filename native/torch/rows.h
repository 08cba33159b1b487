// Arithmetic on rows of channels, sixteen at a time, in GCC's vector types: the compiler makes AVX-512, AVX2 or baseline code of the same
// source, and DM_CALL picks at run time what DM_FOR_EACH_TARGET defined.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>


#define DM_INLINE inline __attribute__((always_inline))

namespace dm {

typedef float Lanes __attribute__((vector_size(64)));
typedef uint32_t LaneBits __attribute__((vector_size(64)));
typedef uint16_t HalfLanes __attribute__((vector_size(32)));
constexpr int64_t kLanes = 16;
typedef double WideLanes __attribute__((vector_size(128)));

DM_INLINE Lanes load(const float* p) {
  Lanes v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

DM_INLINE Lanes load(const c10::BFloat16* p) {
  HalfLanes h;
  std::memcpy(&h, p, sizeof h);
  LaneBits bits = __builtin_convertvector(h, LaneBits) << 16;
  return (Lanes)bits;  // the bits, not the value
}

DM_INLINE void store(float* p, Lanes v) { std::memcpy(p, &v, sizeof v); }

// To nearest, ties to even; NaN stays NaN.
DM_INLINE void store(c10::BFloat16* p, Lanes v) {
  LaneBits bits = (LaneBits)v;
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  bits = v == v ? bits : LaneBits{} + 0x7fc0;
  HalfLanes h = __builtin_convertvector(bits, HalfLanes);
  std::memcpy(p, &h, sizeof h);
}

DM_INLINE Lanes positive(Lanes v) { return v > 0 ? v : Lanes{}; }

DM_INLINE float positive(float v) { return v > 0 ? v : 0; }

// One channel, the same functions: what is left when the channels are no multiple of the lanes.
DM_INLINE float load1(const float* p) { return *p; }
DM_INLINE float load1(const c10::BFloat16* p) { return static_cast<float>(*p); }
DM_INLINE void store1(float* p, float v) { *p = v; }
DM_INLINE void store1(c10::BFloat16* p, float v) { *p = c10::BFloat16(v); }

// What this machine has, 2: AVX-512, 1: AVX2 with FMA, 0: neither; a test may lower it to run the other machines' code.
int vector_level();

}  // namespace dm

// Defines one function per instruction set, each making the call, whose always-inline body is compiled for it.
#if defined(__x86_64__)
#define DM_FOR_EACH_TARGET(name, template_head, parameters, call)                                                        \
  template_head __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,prefer-vector-width=512"))) void name##_512 parameters { call; } \
  template_head __attribute__((target("avx2,fma"))) void name##_256 parameters { call; }                               \
  template_head void name##_128 parameters { call; }
#define DM_CALL(name, ...)                                        \
  do {                                                            \
    if (dm::vector_level() == 2) name##_512(__VA_ARGS__);         \
    else if (dm::vector_level() == 1) name##_256(__VA_ARGS__);    \
    else name##_128(__VA_ARGS__);                                 \
  } while (false)
#else
#define DM_FOR_EACH_TARGET(name, template_head, parameters, call) template_head void name##_128 parameters { call; }
#define DM_CALL(name, ...) name##_128(__VA_ARGS__)
#endif
