/* Runs a fuzz target without a fuzzer: the files named on the command line (.b64: each line an input in base64), or else a fixed
 * number of random inputs from a fixed seed, as a unit test. VIV_FUZZ_RUNS and VIV_FUZZ_SEED change the two. */
#include "fuzz/fuzz.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long setting(const char *name, unsigned long fallback)
{
    const char *text = g_getenv(name);

    return text ? strtoul(text, NULL, 0) : fallback;
}

static void run_lines(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);

    for (unsigned i = 0; lines[i]; i++) {
        gsize len;
        g_autofree guchar *data = g_base64_decode(lines[i], &len);

        if (len)
            LLVMFuzzerTestOneInput(data, len);
    }
}

static int run_files(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *data;
        gsize len;

        if (!g_file_get_contents(argv[i], &data, &len, NULL)) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 1;
        }
        if (g_str_has_suffix(argv[i], ".b64"))
            run_lines(data);
        else
            LLVMFuzzerTestOneInput((const uint8_t *)data, len);
        g_free(data);
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long runs = setting("VIV_FUZZ_RUNS", 20000), seed = setting("VIV_FUZZ_SEED", 1);
    g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);
    uint8_t data[600];

    if (argc > 1 && argv[1][0] != '-')
        return run_files(argc, argv);
    for (unsigned long i = 0; i < runs; i++) {
        size_t len = g_rand_int_range(rnd, 8, sizeof(data));

        for (size_t k = 0; k < len; k++)
            data[k] = g_rand_int(rnd);
        LLVMFuzzerTestOneInput(data, len);
    }
    printf("1..1\nok 1 - %lu inputs from seed %lu\n", runs, seed);
    return 0;
}
