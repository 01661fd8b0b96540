/* The machine's configuration from what the command line said. */
#include "cmd/vm_args.h"

#include "base/log.h"
#include "base/units.h"
#include "machine/bios.h"
#include "mem/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

const struct viv_opt_def vm_smp_opts[] = {
    {.name = "cpus", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX},
    {.name = "maxcpus", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX},
    {.name = "sockets", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX},
    {.name = "dies", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX},
    {.name = "cores", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX},
    {.name = "threads", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX},
    {.name = "clusters", .type = VIV_OPT_REFUSED, .help = "x86 has no clusters"},
    {.name = "modules", .type = VIV_OPT_REFUSED, .help = "leave it out"},
    VIV_OPT_END,
};

static uint64_t smp_product(const struct viv_smp *s)
{
    unsigned __int128 p = (unsigned __int128)s->sockets * s->dies * s->cores * s->threads;

    return p > UINT32_MAX ? UINT32_MAX : (uint64_t)p;
}

/* CPUs per one of what was left out. The product of the others can be more than 64 bits hold. */
static unsigned smp_share(unsigned total, unsigned a, unsigned b, unsigned c)
{
    return (unsigned)(total / ((unsigned __int128)a * b * c));
}

/* What was left out, as QEMU's pc machines since 6.2 fill it in: cores before sockets before threads. */
static void smp_complete(struct viv_smp *s)
{
    unsigned total = s->maxcpus ? s->maxcpus : s->cpus;

    s->dies = s->dies ? s->dies : 1;
    if (!total) {
        s->sockets = s->sockets ? s->sockets : 1;
        s->cores = s->cores ? s->cores : 1;
        s->threads = s->threads ? s->threads : 1;
        total = smp_product(s);
    } else if (!s->cores) {
        s->sockets = s->sockets ? s->sockets : 1;
        s->threads = s->threads ? s->threads : 1;
        s->cores = smp_share(total, s->sockets, s->dies, s->threads);
    } else if (!s->sockets) {
        s->threads = s->threads ? s->threads : 1;
        s->sockets = smp_share(total, s->cores, s->dies, s->threads);
    }
    if (!s->threads)
        s->threads = smp_share(total, s->sockets, s->dies, s->cores);
    s->maxcpus = total;
    s->cpus = s->cpus ? s->cpus : total;
}

static int smp_check(const struct viv_smp *s, struct viv_err *err)
{
    if (smp_product(s) != s->maxcpus)
        return viv_fail(err, EINVAL,
                        "-smp: invalid CPU topology: product of the hierarchy must match maxcpus: sockets "
                        "(%u) * dies (%u) * cores (%u) * threads (%u) != maxcpus (%u)",
                        s->sockets, s->dies, s->cores, s->threads, s->maxcpus);
    if (s->maxcpus < s->cpus)
        return viv_fail(err, EINVAL, "-smp: maxcpus (%u) must be equal to or greater than cpus (%u)",
                        s->maxcpus, s->cpus);
    return 0;
}

int vm_smp_parse(struct viv_raw_opts *r, struct viv_smp *out, struct viv_err *err)
{
    struct {
        const char *key;
        unsigned *to;
    } fields[] = {{"cpus", &out->cpus},   {"maxcpus", &out->maxcpus}, {"sockets", &out->sockets},
                  {"dies", &out->dies},   {"cores", &out->cores},     {"threads", &out->threads}};
    struct viv_opts *o;
    int rc = 0;

    *out = (struct viv_smp){0};
    if (!r) {
        *out = (struct viv_smp){1, 1, 1, 1, 1, 1};
        return 0;
    }
    rc = viv_opts_from_raw("-smp", vm_smp_opts, r, &o, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < G_N_ELEMENTS(fields) && !rc; i++) {
        *fields[i].to = (unsigned)viv_opts_int(o, fields[i].key);
        if (viv_opts_given(o, fields[i].key) && !*fields[i].to)
            rc = viv_fail(err, EINVAL, "-smp: %s=0: CPU topology parameters must be greater than zero",
                          fields[i].key);
    }
    viv_opts_free(o);
    if (rc < 0)
        return rc;
    smp_complete(out);
    return smp_check(out, err);
}

/* slots= and maxmem= make room for memory that is added later. None can be: they are read to see whether that was asked for. */
static int mem_room(struct viv_raw_opts *r, uint64_t bytes, bool *wanted, struct viv_err *err)
{
    const char *slots = viv_raw_get(r, "slots"), *maxmem = viv_raw_get(r, "maxmem");
    struct viv_err why = VIV_ERR_INIT;
    uint64_t n = 0, most = bytes;

    if ((slots && viv_parse_u64(slots, &n, &why) < 0) || (maxmem && viv_parse_size(maxmem, VIV_MIB, &most, &why) < 0))
        return viv_fail(err, EINVAL, "-m: %s", why.text);
    if (n > 256)
        return viv_fail(err, EINVAL, "-m: slots=%s: QEMU has 256 at most, and here memory cannot be added at all; leave it out", slots);
    if (most < bytes)
        return viv_fail(err, EINVAL, "-m: maxmem=%s is less than the memory that the machine has at once", maxmem);
    *wanted = n || most > bytes;
    return 0;
}

int vm_mem_parse(struct viv_raw_opts *r, uint64_t *bytes, bool *room, struct viv_err *err)
{
    struct viv_err why = VIV_ERR_INIT;

    *bytes = 128 * VIV_MIB;
    *room = false;
    if (!r)
        return 0;
    for (size_t i = 0; i < viv_raw_count(r); i++) {
        const char *key, *value;

        viv_raw_at(r, i, &key, &value);
        if (!strcmp(key, "slots") || !strcmp(key, "maxmem"))
            continue;
        if (strcmp(key, "size"))
            return viv_fail(err, EINVAL, "-m: unknown option '%.60s'; it takes size, slots, maxmem", key);
        /* A bare number is MiB. */
        if (viv_parse_size(value, VIV_MIB, bytes, &why) < 0)
            return viv_fail(err, EINVAL, "-m: %s", why.text);
        if (*bytes == 0)
            return viv_fail(err, EINVAL, "-m %s: a machine without memory cannot start; try -m 512", value);
        if (*bytes < VIV_MIB)
            return viv_fail(err, EINVAL, "-m %s: at least 1M is needed", value);
        /* As QEMU: rounded up to 8 KiB. */
        if (*bytes > INT64_MAX)
            return viv_fail(err, ERANGE, "-m %s: that is more than a machine can have", value);
        *bytes = (*bytes + 8191) & ~8191ull;
    }
    return mem_room(r, *bytes, room, err);
}

static int find_machine(struct vm_args *a, const char *type, struct viv_err *err)
{
    const char *names[64];
    const char *near;
    size_t n = 0;

    a->cfg.cls = viv_machine_find(type);
    if (a->cfg.cls)
        return 0;
    a->cfg.cls = viv_machine_of_version(type);
    if (a->cfg.cls) {
        a->machine_version = g_strdup(type);
        return 0;
    }
    for (const struct viv_machine_class *const *m = viv_machines(); *m && n < 63; m++)
        names[n++] = (*m)->name;
    names[n] = NULL;
    near = viv_nearest(type, names);
    return viv_fail(err, EINVAL, "-machine %.60s: there is no such machine%s%s%s; -machine help lists them",
                    type, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int fill_machine(struct vm_args *a, struct viv_err *err)
{
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    struct viv_raw_opts *r = a->machine ? a->machine : viv_raw_new("-machine");
    g_autofree char *type = viv_raw_take(r, "type");
    g_autofree char *accel = viv_raw_take(r, "accel");
    g_autofree char *what = NULL;
    int rc;

    a->machine = r;
    rc = find_machine(a, type ? type : a->default_machine, err);
    if (rc < 0)
        return rc;
    if (accel && a->accels)
        return viv_fail(err, EINVAL, "-machine accel= and -accel exclude each other");
    if (!a->accels && (accel || a->default_accel)) {
        a->accels = g_ptr_array_new();
        g_ptr_array_add(a->accels, g_strdup(accel ? accel : a->default_accel));
    }
    if (a->accels) {
        g_ptr_array_add(a->accels, NULL);
        a->cfg.accels = (const char *const *)a->accels->pdata;
    }
    what = g_strdup_printf("-machine %s", a->cfg.cls->name);
    return viv_opts_from_raw(what, a->cfg.cls->props ? a->cfg.cls->props : none, r, &a->cfg.machine_opts,
                             err);
}

bool vm_machine_off(const struct vm_args *a, const char *key)
{
    for (const struct viv_opt_def *d = a->cfg.cls->props; d && d->name; d++) {
        if (!strcmp(d->name, key))
            return !viv_opts_bool(a->cfg.machine_opts, key);
    }
    return false;
}

/* Where RAM lies: an object, -mem-path, -mem-prealloc. An object says how much, where -m does not. */
static int fill_memory(struct vm_args *a, struct viv_err *err)
{
    struct viv_machine_config *cfg = &a->cfg;
    const char *id = viv_opts_str(cfg->machine_opts, "memory-backend");

    if (!id) {
        if (a->mem_path || a->mem_prealloc)
            cfg->memory = viv_mem_backend_simple(a->mem_path, a->mem_prealloc, cfg->ram_bytes);
        return 0;
    }
    if (a->mem_path || a->mem_prealloc)
        return viv_fail(err, EINVAL, "-machine memory-backend= and %s exclude each other: give the object %s", a->mem_path ? "-mem-path"
                        : "-mem-prealloc", a->mem_path ? "mem-path=" : "prealloc=on");
    cfg->memory = viv_mem_backend_find(id);
    if (!cfg->memory)
        return viv_fail(err, ENOENT, "-machine memory-backend=%s: there is no -object memory-backend-ram, -file or -memfd with that id", id);
    if (!a->mem)
        cfg->ram_bytes = viv_mem_backend_size(cfg->memory);
    if (cfg->ram_bytes != viv_mem_backend_size(cfg->memory))
        return viv_fail(err, EINVAL, "-machine memory-backend=%s: the object has %llu MiB, and -m says %llu", id,
                        (unsigned long long)(viv_mem_backend_size(cfg->memory) >> 20), (unsigned long long)(cfg->ram_bytes >> 20));
    return 0;
}

static const char *const rtc_clocks[] = {"host", "rt", "vm", NULL};
static const char *const rtc_drift[] = {"none", "slew", NULL};
const struct viv_opt_def vm_rtc_opts[] = {
    {.name = "base", .type = VIV_OPT_STR, .help = "utc, localtime or a date", .def = "utc"},
    {.name = "clock", .type = VIV_OPT_ENUM, .values = rtc_clocks, .def = "host"},
    {.name = "driftfix", .type = VIV_OPT_ENUM, .values = rtc_drift, .def = "none", .help = "periodic ticks that came too late are lost, or made up for"},
    VIV_OPT_END,
};

static const char *disk_texts(const struct vm_args *a)
{
    GString *s = g_string_new(NULL);

    FOR_ITEMS(a->drives, it)
        g_string_append_printf(s, "%s\n", it->text);
    FOR_ITEMS(a->blockdevs, it)
        g_string_append_printf(s, "%s\n", it->text);
    return g_string_free(s, FALSE);
}

/* What only a PC has or does. */
static int check_pc(const struct vm_args *a, struct viv_err *err)
{
    const char *name = a->cfg.cls->name;

    if (a->cfg.cls->pc)
        return 0;
    if (a->option_roms)
        return viv_fail(err, ENOTSUP, "-option-rom: machine '%s' runs no firmware that would run it; pc and q35 do", name);
    if (a->cfg.no_fd_bootchk)
        return viv_fail(err, ENOTSUP, "-no-fd-bootchk: machine '%s' boots no diskettes; leave it out", name);
    if (a->cfg.no_hpet)
        return viv_fail(err, ENOTSUP, "-no-hpet: machine '%s' has no HPET; leave it out", name);
    return 0;
}

static int set_no_cpu(struct vm_args *a, struct viv_err *err)
{
    const char *what = a->smp ? "-smp" : a->cfg.cpu ? "-cpu" : a->gdb && strcmp(a->gdb, "none") ? "-gdb" : NULL;

    FOR_ITEMS(a->serials, it)
        if (strcmp(it->text, "none") && strcmp(it->text, "null"))
            return viv_fail(err, ENOTSUP, "%s %.60s: machine '%s' has no serial port", it->option, it->text, a->cfg.cls->name);
    a->cfg.smp = (struct viv_smp){0, 0, 1, 1, 1, 1};
    return what ? viv_fail(err, ENOTSUP, "%s: machine '%s' has no CPU; use -machine pc", what, a->cfg.cls->name) : 0;
}

void vm_config_warn(const struct vm_args *a)
{
    if (a->machine_version)
        viv_info("-machine %.60s: that is machine '%s' here, which has one version (%s)", a->machine_version, a->cfg.cls->name,
                 a->cfg.cls->aliases[0]);
    if (a->cfg.smp.maxcpus > a->cfg.smp.cpus)
        viv_warn("-smp maxcpus=%u: CPUs cannot be added to a running machine yet: there are %u", a->cfg.smp.maxcpus, a->cfg.smp.cpus);
    if (a->mem_room)
        viv_warn("-m slots= and maxmem= have no effect: memory cannot be added to a running machine yet");
    if (!viv_bios_wanted(&a->cfg) && (a->cfg.boot || a->option_roms))
        viv_warn("%s has no effect: -kernel is started directly, no firmware runs", a->cfg.boot ? "-boot" : "-option-rom");
}

int vm_config_fill(struct vm_args *a, struct viv_err *err)
{
    struct viv_machine_config *cfg = &a->cfg;
    int rc = fill_machine(a, err);

    if (!rc)
        rc = check_pc(a, err);
    if (!rc && !cfg->cls->max_cpus)
        rc = set_no_cpu(a, err);
    else if (!rc)
        rc = vm_smp_parse(a->smp, &cfg->smp, err);
    if (!rc && cfg->smp.cpus > cfg->cls->max_cpus)
        rc = viv_fail(err, EINVAL, "-smp: %u CPUs are too many: machine '%s' takes %u", cfg->smp.cpus,
                      cfg->cls->name, cfg->cls->max_cpus);
    if (!rc && (a->mem || cfg->cls->max_cpus))
        rc = vm_mem_parse(a->mem, &cfg->ram_bytes, &a->mem_room, err);
    if (!rc)
        rc = fill_memory(a, err);
    if (!rc && a->rtc)
        rc = viv_opts_from_raw("-rtc", vm_rtc_opts, a->rtc, &cfg->rtc, err);
    else if (!rc)
        cfg->rtc = viv_opts_new("-rtc", vm_rtc_opts);
    if (!rc && a->boot)
        rc = viv_opts_from_raw("-boot", viv_boot_opts, a->boot, &cfg->boot, err);
    if (!rc)
        rc = viv_bios_check_boot(cfg->boot, err);
    if (rc < 0)
        return rc;
    cfg->nographic = a->nographic || vm_machine_off(a, "graphics");
    if (a->option_roms) {
        g_ptr_array_add(a->option_roms, NULL);
        cfg->option_roms = (const char *const *)a->option_roms->pdata;
    }
    if (a->fw_cfgs) {
        g_ptr_array_add(a->fw_cfgs, NULL);
        cfg->fw_cfg = (const char *const *)a->fw_cfgs->pdata;
    }
    cfg->cpu_is_default = !cfg->cpu;
    if (!cfg->cpu)
        cfg->cpu = a->default_cpu;
    cfg->incoming = a->incoming || a->loadvm;
    cfg->disks = disk_texts(a);
    if (!cfg->kernel && (cfg->initrd || cfg->append))
        return viv_fail(err, EINVAL, "%s needs -kernel", cfg->initrd ? "-initrd" : "-append");
    return 0;
}
