/* Fuzz targets have libFuzzer's entry, so that clang -fsanitize=fuzzer, AFL++ and smoke.c all drive them. */
#ifndef VIV_FUZZ_FUZZ_H
#define VIV_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
