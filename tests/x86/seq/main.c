/* Differential test of instruction sequences: see seq.h. */
#include "seq.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct options {
    uint64_t count, seed, single, show;
    double seconds;
    bool list, no_shrink, dump, avx512;
    enum engine engine;
    const char *cpu;
    struct gen_options gen;
    struct viv_xlate_opts xlate;
};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void usage(void)
{
    printf("seq-diff [--count N] [--time SECONDS] [--seed N] [--case N] [--mode 64|32|compat] [--engine xlate|interp]\n"
           "         [--cpu MODEL] [--avx512] [--knob NAME[=N]]... [--show N] [--no-shrink] [--dump] [--rows]\n"
           "  --case N   one sequence, by the number printed with a difference\n"
           "  --dump     print each sequence and its runs before it is run\n"
           "  --avx512   with AVX-512, which -accel xlate does not offer; the host must have it\n"
           "  --rows     list the rows that were not met\n"
           "  --knob     max_insns=N no_chain random_ends fail_nth=N interp_cold cache_bytes=N\n");
}

static bool parse_mode(const char *text, struct gen_options *g)
{
    static const char *const names[] = {"64", "32", "compat"};

    for (int n = 0; n < 3; n++) {
        if (!strcmp(text, names[n])) {
            g->mode = n;
            return true;
        }
    }
    return false;
}

static bool parse_knob(const char *text, struct viv_xlate_opts *x)
{
    unsigned n = 0;
    char name[32] = "";
    int got = sscanf(text, "%31[a-z_]=%u", name, &n);

    if (!strcmp(name, "no_chain") && got == 1)
        x->no_chain = true;
    else if (!strcmp(name, "random_ends") && got == 1)
        x->random_ends = true;
    else if (!strcmp(name, "interp_cold") && got == 1)
        x->interp_cold = true;
    else if (!strcmp(name, "max_insns") && got == 2)
        x->max_insns = n;
    else if (!strcmp(name, "fail_nth") && got == 2)
        x->fail_nth = n;
    else if (!strcmp(name, "cache_bytes") && got == 2)
        x->cache_bytes = n;
    else
        return false;
    return true;
}

static bool refuse(const char *option, const char *value)
{
    fprintf(stderr, "seq-diff: --%s does not know '%s'\n", option, value);
    usage();
    return false;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"count", 1, NULL, 'c'}, {"seed", 1, NULL, 's'}, {"time", 1, NULL, 't'},   {"case", 1, NULL, 'k'},
        {"mode", 1, NULL, 'm'},  {"show", 1, NULL, 'n'}, {"engine", 1, NULL, 'e'}, {"knob", 1, NULL, 'o'},
        {"cpu", 1, NULL, 'p'},   {"rows", 0, NULL, 'l'}, {"avx512", 0, NULL, 'x'}, {"no-shrink", 0, NULL, 'r'}, {"dump", 0, NULL, 'd'}, {"help", 0, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (c) {
        case 'c': o->count = strtoull(optarg, NULL, 0); break;
        case 's': o->seed = strtoull(optarg, NULL, 0); break;
        case 't': o->seconds = strtod(optarg, NULL); break;
        case 'k': o->single = strtoull(optarg, NULL, 0); break;
        case 'n': o->show = strtoull(optarg, NULL, 0); break;
        case 'l': o->list = true; break;
        case 'r': o->no_shrink = true; break;
        case 'd': o->dump = true; break;
        case 'x': o->avx512 = true; break;
        case 'p': o->cpu = optarg; break;
        case 'm':
            if (!parse_mode(optarg, &o->gen))
                return refuse("mode", optarg);
            break;
        case 'e':
            if (strcmp(optarg, "xlate") && strcmp(optarg, "interp"))
                return refuse("engine", optarg);
            o->engine = optarg[0] == 'x' ? ENGINE_XLATE : ENGINE_INTERP;
            break;
        case 'o':
            if (!parse_knob(optarg, &o->xlate))
                return refuse("knob", optarg);
            break;
        case 'h': usage(); exit(0);
        default: usage(); return false;
        }
    }
    if (optind < argc)
        return refuse("", argv[optind]);
    return true;
}

/* A crash says which case it was; the engines' own handlers come first. */
static void on_crash(int sig)
{
    run_tell_case();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void catch_crashes(void)
{
    static uint8_t stack[1 << 16];
    stack_t s = {.ss_sp = stack, .ss_size = sizeof(stack)};
    static const int signals[] = {SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGTRAP, SIGABRT};
    struct sigaction sa = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};

    sigaltstack(&s, NULL);
    for (unsigned n = 0; n < sizeof(signals) / sizeof(signals[0]); n++)
        sigaction(signals[n], &sa, NULL);
}

static const struct viv_cpuid *make_model(const char *name, bool avx512)
{
    struct viv_err err = {0};
    struct viv_cpuid *m;
    uint32_t have[VIV_FW_COUNT];

    if (viv_cpuid_parse(name, &m, &err) < 0) {
        fprintf(stderr, "seq-diff: no CPU model '%s'\n", name);
        exit(1);
    }
    viv_cpuid_software_words(have);
    for (unsigned n = 0; n < VIV_FW_COUNT; n++)
        m->word[n] &= have[n];
    if (!avx512)
        viv_cpuid_drop_avx512(m->word);
    viv_cpuid_finish(m);
    return m;
}

/* Alone first: what needs the cases before it cannot be made smaller. */
static void explain(struct seq *q, struct plan *p, bool small, const char *what)
{
    run_clean();
    if (run_seq(q, p, NULL) != DIFFERENT) {
        show_seq(q, stdout);
        printf("%s  the same when run alone: it needs what was translated before it\n", what);
        return;
    }
    if (small)
        shrink(q, p);
    show_seq(q, stdout);
    run_clean();
    run_seq(q, p, stdout);
}

static enum verdict one(uint64_t seed, const struct options *o, bool show)
{
    static struct seq q;
    static struct plan p;
    static char text[16384];
    FILE *what = show ? fmemopen(text, sizeof(text), "w") : NULL;
    enum verdict v;

    gen_seq(&q, seed, &o->gen);
    plan_make(&p, &q);
    if (o->dump) {
        show_seq(&q, stdout);
        for (unsigned n = 0; n < p.runs; n++)
            show_scene(&p.scene[n], n, stdout);
    }
    v = run_seq(&q, &p, what);
    if (what)
        fclose(what);
    run_stats.sequences++;
    run_stats.left_out += v == LEFT_OUT;
    run_stats.different += v == DIFFERENT;
    if (v == DIFFERENT && show)
        explain(&q, &p, !o->no_shrink, text);
    return v;
}

static void summary(const struct options *o, double took)
{
    unsigned met = 0, all = 0;

    for (unsigned n = 0; n < viv_row_count; n++) {
        if (!rows_expected(&viv_rows[n]))
            continue;
        all++;
        met += run_stats.hits[n] != 0;
        if (o->list && !run_stats.hits[n])
            printf("not met: %s (map %u, opcode %#x)\n", viv_rows[n].name, viv_rows[n].map, viv_rows[n].opcode);
    }
    printf("exceptions:");
    for (unsigned n = 0; n < 32; n++) {
        if (run_stats.vectors[n])
            printf(" %u: %lu", n, (unsigned long)run_stats.vectors[n]);
    }
    printf("\n%lu sequences (%lu left out), %lu runs (%lu to a shutdown), %lu instructions, %lu different, %.0f sequences per second; rows met "
           "%u of %u\n",
           (unsigned long)run_stats.sequences, (unsigned long)run_stats.left_out, (unsigned long)run_stats.runs,
           (unsigned long)run_stats.shutdowns,
           (unsigned long)run_stats.steps, (unsigned long)run_stats.different, (double)run_stats.sequences / took, met,
           all);
}

int main(int argc, char **argv)
{
    struct options o = {.count = ~0ull, .seed = 1, .show = 5, .gen.mode = -1, .cpu = "max",
                        .xlate.cache_bytes = 1 << 20 /* dead blocks make a large one slower */};
    const struct viv_cpuid *model;
    bool sound = true;
    double start;

    if (!parse(argc, argv, &o))
        return 1;
    if (o.count == ~0ull && o.seconds == 0)
        o.count = 20000;
    setvbuf(stdout, NULL, _IOLBF, 0);
    catch_crashes();
    model = make_model(o.cpu, o.avx512);
    seq_avx512 = viv_cpuid_has(model, VIV_FT_AVX512F);
    if (o.avx512 && !seq_avx512) {
        printf("SKIP: the host's CPU has no AVX-512 (F, BW, DQ, VL)\n");
        return 77;
    }
    rows_init(model);
    run_init(o.engine, model, &o.xlate);
    start = seconds();
    if (o.single) {
        enum verdict v = one(o.single, &o, true);

        printf("%s\n", v == SAME ? "same" : v == DIFFERENT ? "different" : "left out");
        return v == DIFFERENT;
    }
    for (uint64_t state = o.seed; run_stats.sequences < o.count && sound;) {
        if (o.seconds > 0 && (run_stats.sequences & 63) == 0 && seconds() - start > o.seconds)
            break;
        one(rnd(&state), &o, run_stats.different < o.show);
        if ((run_stats.sequences & 255) == 0)
            sound = run_check_static(stdout);
    }
    sound = sound && run_check_static(stdout);
    summary(&o, seconds() - start);
    return run_stats.different || !sound ? 1 : 0;
}
