/* Fuzz target: port, memory and configuration accesses to every device, as input bytes say (see harness_play). The
 * first byte picks the board. The entry point is that of libFuzzer (compile with -DVIV_LIBFUZZER); alone it runs the
 * files it is given, or random inputs: fuzz-devices -runs=N -seed=S. */
#include "harness.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2)
        return 0;
    harness_plugs = true;
    harness_init(data[0] % HARNESS_KINDS, 1000000);
    harness_play(data + 1, len - 1);
    harness_fini();
    return 0;
}

#ifndef VIV_LIBFUZZER
static void random_runs(unsigned runs, guint32 seed)
{
    g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);

    printf("-runs=%u -seed=%u\n", runs, seed);
    for (unsigned r = 0; r < runs; r++) {
        uint8_t data[8192];
        size_t len = (size_t)g_rand_int_range(rnd, 2, sizeof(data));

        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)g_rand_int(rnd);
        LLVMFuzzerTestOneInput(data, len);
    }
}

int main(int argc, char **argv)
{
    unsigned runs = 100, files = 0;
    guint32 seed = g_random_int();

    for (int i = 1; i < argc; i++) {
        g_autofree char *data = NULL;
        gsize len;

        if (sscanf(argv[i], "-runs=%u", &runs) == 1 || sscanf(argv[i], "-seed=%u", &seed) == 1)
            continue;
        if (!g_file_get_contents(argv[i], &data, &len, NULL)) {
            fprintf(stderr, "fuzz-devices: cannot read %s\n", argv[i]);
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)data, len);
        files++;
    }
    if (!files)
        random_runs(runs, seed);
    return 0;
}
#endif
