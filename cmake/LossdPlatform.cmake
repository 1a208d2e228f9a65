# What differs between x86-64 and ARM64: all of it stands here.

# Jumps and returns lead only where they may.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(LOSSD_BRANCH_PROTECTION -mbranch-protection=standard)
else()
  set(LOSSD_BRANCH_PROTECTION -fcf-protection)
endif()

# Of Highway's targets: on x86-64 AVX3, AVX2 and SSE4 beside the baseline, on ARM64 NEON. The others
# of x86 would only cost build time and size; SVE's registers cannot be elements of an array, which a
# Group has, and are as wide as NEON's on the servers of today.
string(JOIN "|" LOSSD_DISABLED_TARGETS
  HWY_AVX3_DL HWY_SSSE3 HWY_SVE HWY_SVE2 HWY_SVE_256 HWY_SVE2_128)
