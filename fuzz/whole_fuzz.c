/* libFuzzer entry for a format (FUZZ_HEADER and FUZZ_DRIVER say which): the input is an image, which is opened in all ways, read,
 * mapped, written and checked. fuzz/whole builds and runs it. */
#include FUZZ_HEADER
#include "block/tables_test.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 4u << 20)
        exercise(&FUZZ_DRIVER, data, size);
    return 0;
}
