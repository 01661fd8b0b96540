/* libFuzzer entry for qcow2: the input is an image. fuzz/qcow2 builds and runs it. */
#include "block/fmt/qcow2/exercise_test.h"

#include "base/log.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The reports of corrupt images are not for this terminal. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return freopen("/dev/null", "w", stdout) ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 4u << 20)
        exercise(data, size);
    return 0;
}
