/* Randomised differential test: see diff.h. */
#include "diff.h"

#include <cpuid.h>
#include <getopt.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

static struct viv_cpuid model;
static uint64_t *hits;      /* by row */
static const char *reasons[64];
static uint64_t reason_count[64];

static unsigned virt_bits(void)
{
    uint32_t a, b, c, d;

    __cpuid(0x80000008, a, b, c, d);
    return a >> 8 & 0xff;
}

/* Everything the host announces; the rows then are what we implement of it. */
static void make_model(void)
{
    static const struct {
        uint32_t leaf, sub, reg;
    } word[] = {
#define _(id, text, leaf, sub, reg) {leaf, sub, reg},
        VIV_CPUID_WORDS(_)
#undef _
    };

    for (unsigned n = 0; n < VIV_FW_COUNT; n++) {
        uint32_t r[4] = {0};

        if (word[n].leaf == 0 || word[n].leaf == 0x40000001)
            continue;
        __cpuid_count(word[n].leaf, word[n].sub, r[0], r[1], r[2], r[3]);
        model.word[n] = r[word[n].reg];
    }
    model.word[0] = 1;
    model.phys_bits = 46;
    model.virt_bits = (uint8_t)virt_bits();
    model.xcr0_mask = viv_cpuid_has(&model, VIV_FT_AVX512F) ? 0xe7 : 7;
}

static void count_reason(const char *why)
{
    unsigned n = 0;

    while (n < 63 && reasons[n] && strcmp(reasons[n], why))
        n++;
    reasons[n] = why;
    reason_count[n]++;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* 0 same, 1 different, -1 not run. */
static int one(struct test_case *t, uint64_t seed, const struct gen_options *o, FILE *out)
{
    static struct outcome native, emul;
    const char *why;
    int r;

    if (!gen_case(t, seed, o))
        return -1;
    memcpy(native_data, t->data, DATA_SIZE);
    memcpy(emul_data, t->data, DATA_SIZE);
    memcpy(native_stack, t->stack, STACK_SIZE);
    memcpy(emul_stack, t->stack, STACK_SIZE);
    native_run(t, &native);
    emul_run(t, &emul);
    r = compare(t, &native, &emul, NULL, &why);
    if (r < 0) {
        count_reason(why);
        return 0;
    }
    if (t->row)
        hits[t->row - viv_rows]++;
    if (r > 0 && out) {
        print_case(t, out);
        if (native.vector != NO_FAULT)
            fprintf(out, "  bare CPU: vector %u error %lx cr2 %lx\n", native.vector,
                    (unsigned long)native.error, (unsigned long)native.cr2);
        compare(t, &native, &emul, out, &why);
    }
    return r > 0;
}

static unsigned parse_hex(const char *text, uint8_t *out)
{
    unsigned n = 0, v;

    while (*text && n < 15) {
        if (*text == ' ') {
            text++;
            continue;
        }
        if (sscanf(text, "%2x", &v) != 1)
            break;
        out[n++] = (uint8_t)v;
        text += text[1] ? 2 : 1;
    }
    return n;
}

/* Rows that no user program can execute, or that filter.c keeps out. */
static bool expected(const struct viv_row *r)
{
    static const char *const no[] = {
        "syscall", "sysret", "sysenter", "sysexit", "cpuid", "rdtsc", "rdtscp", "rdpmc", "rdrand", "rdseed",
        "rdpid", "xgetbv", "sgdt", "sidt", "smsw", "sldt", "str", "lldt", "ltr", "verr", "verw", "lar", "lsl", "arpl",
        "les", "lds", "lss", "lfs", "lgs", "iret", "iretd", "iretq", "retf", "vmcall", "vmmcall", "rdpkru", "wrpkru", "lfence",
    };

    for (unsigned n = 0; n + 1 < sizeof(no) / sizeof(no[0]); n++) {
        if (!strcmp(r->name, no[n]))
            return false;
    }
    return true;
}

static unsigned summary(uint64_t done, uint64_t failed, double took, bool list)
{
    const struct viv_row **rows;
    unsigned n = gen_rows(&rows), hit = 0, missed = 0;

    for (unsigned k = 0; k < n; k++) {
        if (hits[rows[k] - viv_rows])
            hit++;
        else if (expected(rows[k]) && list) {
            printf("not met: %s (map %u, opcode %#x)\n", rows[k]->name, rows[k]->map, rows[k]->opcode);
            missed++;
        }
    }
    for (unsigned k = 0; k < 64 && reasons[k]; k++)
        printf("excluded: %-32s %lu\n", reasons[k], (unsigned long)reason_count[k]);
    printf("%lu cases, %lu different, %.0f per second; rows met %u of %u\n", (unsigned long)done,
           (unsigned long)failed, (double)done / took, hit, n);
    return missed;
}

static void usage(void)
{
    printf("diff-cpu [--count N] [--seed N] [--row NAME] [--bytes HEX] [--mode 32|64] [--show N] [--rows] [--evex]\n"
           "  --case N   one case, by the number printed with a difference\n"
           "  --evex     only AVX-512: rows of rows_evex.def, and random bytes behind 62H\n"
           "  --rows     list the rows that were not met\n"
           "  --intel    not on other makers' CPUs (exit status 77)\n");
}

/* What is excluded, which flags count, and where x87 keeps its pointers is Intel's. */
static bool is_intel(void)
{
    unsigned eax, vendor[3] = {0};

    return __get_cpuid(0, &eax, &vendor[0], &vendor[2], &vendor[1]) && !memcmp(vendor, "GenuineIntel", 12);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"count", 1, NULL, 'c'}, {"seed", 1, NULL, 's'}, {"row", 1, NULL, 'r'}, {"bytes", 1, NULL, 'b'},
        {"mode", 1, NULL, 'm'},  {"show", 1, NULL, 'n'}, {"case", 1, NULL, 'k'}, {"rows", 0, NULL, 'l'}, {"evex", 0, NULL, 'e'},
        {"intel", 0, NULL, 'i'},
        {"help", 0, NULL, 'h'},  {NULL, 0, NULL, 0},
    };
    static struct test_case t;
    uint64_t count = 200000, seed = 1, failed = 0, done = 0, shown = 20, single = 0;
    struct gen_options o = {0};
    uint8_t bytes[16];
    bool list = false;
    double start;

#ifdef __SANITIZE_ADDRESS__
    printf("skipped: AddressSanitizer maps its shadow memory where a bare CPU must find nothing\n");
    return 77;
#endif
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (c) {
        case 'c': count = strtoull(optarg, NULL, 0); break;
        case 's': seed = strtoull(optarg, NULL, 0); break;
        case 'k': single = strtoull(optarg, NULL, 0); break;
        case 'r': o.row = optarg; break;
        case 'b': o.bytes = bytes; o.len = parse_hex(optarg, bytes); break;
        case 'm': o.mode = atoi(optarg); break;
        case 'n': shown = strtoull(optarg, NULL, 0); break;
        case 'l': list = true; break;
        case 'e': o.evex = true; break;
        case 'i':
            if (!is_intel()) {
                printf("skipped: the bare CPU is not Intel's, and this knows only where those and ours differ on purpose\n");
                return 77;
            }
            break;
        default: usage(); return c == 'h' ? 0 : 1;
        }
    }
    if (!(getauxval(AT_HWCAP2) & 2)) {
        printf("SKIP: needs FSGSBASE in user mode\n");
        return 77;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_model();
    hits = calloc(viv_row_count, sizeof(*hits));
    gen_init(&model);
    emul_init(&model);
    native_init();
    start = seconds();
    if (single) {
        int r = one(&t, single, &o, stdout);

        printf(r < 0 ? "not run\n" : r ? "different\n" : "same\n");
        return r != 0;
    }
    for (uint64_t state = seed; done < count;) {
        int r = one(&t, rnd(&state), &o, failed < shown ? stdout : NULL);

        if (r >= 0)
            done++;
        failed += r > 0;
    }
    summary(done, failed, seconds() - start, list);
    return failed ? 1 : 0;
}
