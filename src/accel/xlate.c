/* The translator as an accelerator: its options, and when it can be had. The engine is cpu/x86/xlate. */
#include "accel/soft.h"
#include "accel/xlate_info.h"

#include "base/log.h"
#include "base/units.h"
#include "cpu/x86/xlate/disasm.h"
#include "cpu/x86/xlate/perfmap.h"
#include "cpu/x86/xlate/xlate.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CACHE_DEFAULT (128 * VIV_MIB) /* a vCPU */
#define CACHE_MIN     (256 * VIV_KIB)
#define CACHE_MAX     (1024 * VIV_MIB) /* jumps within it, and from it to our helpers, have 32 bits */
#define MAX_INSNS     64

static struct viv_xlate_opts opts; /* of every vCPU; set by create() before the first one starts */

static const char *const thread_values[] = {"multi", "single", NULL};

static const struct viv_opt_def props[] = {
    {.name = "tb-size", .type = VIV_OPT_INT, .min = 0, .max = 1024 * 1024,
     .help = "MiB of translated code, all vCPUs together (0: 128 a vCPU, at most a quarter of the host's memory)"},
    {.name = "thread", .type = VIV_OPT_ENUM, .values = thread_values, .def = "multi",
     .help = "each vCPU has a thread of its own: multi"},
    {.name = "split-wx", .type = VIV_OPT_BOOL, .def = "on",
     .help = "code is written through another address than it runs at: always so"},
    {.name = "one-insn-per-tb", .type = VIV_OPT_BOOL, .def = "off", .help = "blocks of one guest instruction"},
    {.name = "perfmap", .type = VIV_OPT_BOOL, .def = "off", .help = "writes /tmp/perf-PID.map for perf report"},
    {.name = "x-cache-size", .type = VIV_OPT_SIZE, .min = CACHE_MIN, .max = CACHE_MAX,
     .help = "for tests: translated code of one vCPU, bytes"},
    {.name = "x-max-insns", .type = VIV_OPT_INT, .min = 1, .max = MAX_INSNS,
     .help = "for tests: guest instructions a block"},
    {.name = "x-no-chain", .type = VIV_OPT_BOOL, .def = "off", .help = "for tests: no block jumps to another"},
    {.name = "x-random-ends", .type = VIV_OPT_BOOL, .def = "off", .help = "for tests: blocks end at random"},
    {.name = "x-fail-nth", .type = VIV_OPT_INT, .min = 1, .max = INT32_MAX,
     .help = "for tests: every n-th allocation of code space fails"},
    {.name = "x-interp-cold", .type = VIV_OPT_BOOL, .def = "off",
     .help = "for tests: code is interpreted the first time"},
    VIV_OPT_END,
};

/* 128 MiB a vCPU, unless that is much for this host. */
static uint64_t default_cache(unsigned vcpus)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    uint64_t quarter = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) / 4 : 0;
    uint64_t each = quarter ? quarter / vcpus : CACHE_DEFAULT;

    if (each > CACHE_DEFAULT)
        each = CACHE_DEFAULT;
    return each < CACHE_MIN ? CACHE_MIN : each & ~(uint64_t)0xffff;
}

static int read_cache_size(struct viv_opts *o, unsigned vcpus, struct viv_err *err)
{
    uint64_t mib = (uint64_t)viv_opts_int(o, "tb-size");
    uint64_t each = (mib * VIV_MIB / vcpus) & ~(uint64_t)0xffff;

    opts.cache_bytes = viv_opts_size(o, "x-cache-size");
    if (opts.cache_bytes && mib)
        return viv_fail(err, EINVAL, "-accel xlate: tb-size and x-cache-size exclude each other");
    if (opts.cache_bytes)
        return 0;
    opts.cache_bytes = mib ? each : default_cache(vcpus);
    if (mib && each < CACHE_MIN)
        return viv_fail(err, EINVAL, "-accel xlate: tb-size=%llu is too small for %u CPUs: each has a cache of its "
                        "own, of at least 256 KiB; use tb-size=%llu or more", (unsigned long long)mib, vcpus,
                        (unsigned long long)((vcpus * CACHE_MIN + VIV_MIB - 1) / VIV_MIB));
    if (each > CACHE_MAX) {
        viv_warn("-accel xlate: tb-size=%llu has no effect above %llu: each of %u CPUs can use 1024 MiB", (unsigned long long)mib, 1024ull * vcpus,
                 vcpus);
        opts.cache_bytes = CACHE_MAX;
    }
    return 0;
}

static int refuse_what_is_not_so(struct viv_opts *o, unsigned vcpus, struct viv_err *err)
{
    if (vcpus > 1 && strcmp(viv_opts_str(o, "thread"), "multi"))
        return viv_fail(err, ENOTSUP, "-accel xlate: thread=single is not possible: each vCPU has a thread of its own; "
                        "leave it out, or give the machine one CPU");
    if (!viv_opts_bool(o, "split-wx"))
        return viv_fail(err, ENOTSUP, "-accel xlate: split-wx=off is not possible: code is never writable and "
                        "executable at one address; leave it out");
    return 0;
}

static int read_options(struct viv_opts *o, unsigned vcpus, struct viv_err *err)
{
    bool one = viv_opts_bool(o, "one-insn-per-tb");
    int rc = refuse_what_is_not_so(o, vcpus, err);

    if (!rc)
        rc = read_cache_size(o, vcpus, err);
    if (!rc && one && viv_opts_given(o, "x-max-insns"))
        rc = viv_fail(err, EINVAL, "-accel xlate: one-insn-per-tb and x-max-insns exclude each other");
    if (rc < 0)
        return rc;
    opts.perfmap = viv_opts_bool(o, "perfmap");
    opts.max_insns = one ? 1 : (unsigned)viv_opts_int(o, "x-max-insns");
    opts.no_chain = viv_opts_bool(o, "x-no-chain");
    opts.random_ends = viv_opts_bool(o, "x-random-ends");
    opts.fail_nth = (unsigned)viv_opts_int(o, "x-fail-nth");
    opts.interp_cold = viv_opts_bool(o, "x-interp-cold");
    opts.log_in = viv_log_on(VIV_LOG_IN_ASM) ? viv_log_file() : NULL;
    opts.log_out = viv_log_on(VIV_LOG_OUT_ASM) ? viv_log_file() : NULL;
    return 0;
}

static int create(const struct viv_accel_env *env, struct viv_intc **intc, struct viv_err *err)
{
    int rc = read_options(env->opts, MAX(env->vcpus, 1), err);

    if (!rc && (opts.log_in || opts.log_out))
        rc = viv_xlate_disasm_load(err);
    if (!rc && opts.perfmap)
        rc = viv_xlate_perfmap_open(err);
    return rc < 0 ? rc : viv_soft_create(env, intc, err);
}

static int filter_cpuid(struct viv_cpuid *model, struct viv_err *err)
{
    return viv_soft_filter_cpuid(model, "xlate", true, err);
}

static int vcpu_init(struct viv_vcpu *v, struct viv_err *err)
{
    int rc = viv_soft_vcpu_init(v, err);

    return rc < 0 ? rc : viv_xlate_attach(v->x86, &opts, err);
}

static void vcpu_kick(struct viv_vcpu *v)
{
    viv_xlate_kick(v->x86);
}

const struct viv_accel viv_accel_xlate = {
    .name = "xlate",
    .desc = "the translator: rewrites guest code for this CPU",
    .breakpoints = true,
    .smm = true,
    .props = props,
    .instead = &viv_accel_interp,
    .makes_code = true,
    .probe = viv_xlate_probe,
    .create = create,
    .filter_cpuid = filter_cpuid,
    .vcpu_init = vcpu_init,
    .vcpu_run = viv_soft_vcpu_run,
    .vcpu_kick = vcpu_kick,
    .info_jit = viv_xlate_info,
};
