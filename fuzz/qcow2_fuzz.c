/* The input is a qcow2 image: opened in all ways, read, written, checked, mended, its snapshots and bitmaps made and unmade. */
#include "block/fmt/qcow2/exercise_test.h"
#include "fuzz/fuzz.h"
#include "fuzz/qcow2_mutate.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room) __attribute__((weak)); /* not in programs without libFuzzer */

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    if (size < QCOW2_H_V3_LENGTH || seed % 8 == 0)
        return LLVMFuzzerMutate(data, size, room);
    mutate_tables(data, size, seed);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 4u << 20)
        exercise(data, size);
    return 0;
}
