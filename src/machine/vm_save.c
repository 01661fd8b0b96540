/* The whole VM as bytes: in a file for vm_migrate.c, in an image for vm_snapshot.c.
 *
 *   magic, version, description of the machine
 *   guest clock, TSC and its frequency, base of the paravirtual clock, what the guest asked for last
 *   RAM: per block its name and size, then runs of pages that are not all zero
 *   vCPUs, accelerator, devices: one blob of state sections
 *   CRC-32 of everything before it
 * Numbers are 64-bit little-endian. The file is hostile input: every length is checked against what this
 * machine has, and a VM whose load failed does not run. */
#include "machine/vm.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/units.h"
#include "block/registry.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/kvmclock.h"
#include "cpu/x86/state.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/vm_stream.h"
#include "mem/ram.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#define MAGIC     "VIVSAVE"
#define VERSION   3
#define OLDEST    2 /* said nothing of the CPU but its features */
#define MAX_TEXT  4096

/* What must be the same on both sides; a difference is shown to the person. */
static char *describe(void)
{
    const struct viv_machine_config *cfg = viv_vm_config();
    const struct viv_smp *s = &cfg->smp;

    return g_strdup_printf("-M %s -m %" PRIu64 "K -smp %u,sockets=%u,dies=%u,cores=%u,threads=%u",
                           cfg->cls->name, (uint64_t)(cfg->ram_bytes / VIV_KIB), s->cpus, s->sockets, s->dies,
                           s->cores, s->threads);
}

/* What a guest may have looked at beside the features: they are compared as words. As -cpu takes it. */
static char *describe_cpu(void)
{
    const struct viv_cpuid *m = viv_vm_cpuid();

    return g_strdup_printf("vendor=%s,family=%u,model=%u,stepping=%u,level=%#x,xlevel=%#x,phys-bits=%u", m->vendor, m->family,
                           m->family_model, m->stepping, m->level, m->xlevel, m->phys_bits);
}

/* --- vCPUs and devices --- */

static void save_cpu_model(struct viv_state_writer *w)
{
    g_autofree char *desc = describe_cpu();

    viv_state_put(w, viv_vm_cpuid()->word, sizeof(viv_vm_cpuid()->word));
    viv_state_put_u32(w, (uint32_t)strlen(desc));
    viv_state_put(w, desc, strlen(desc));
}

static int load_cpu_model(struct viv_state_reader *r, uint64_t version, struct viv_err *err)
{
    g_autofree char *mine = describe_cpu(), *theirs = NULL;
    uint32_t word[VIV_FW_COUNT], len = 0;
    int rc = viv_state_get(r, word, sizeof(word), err);

    if (!rc && memcmp(word, viv_vm_cpuid()->word, sizeof(word)))
        rc = viv_fail(err, EINVAL, "saved state is of a CPU with other features: use the same -cpu "
                      "(not 'host' or 'max' on another host)");
    if (rc < 0 || version == OLDEST)
        return rc;
    rc = viv_state_get_u32(r, &len, err);
    if (!rc && len > MAX_TEXT)
        rc = viv_fail(err, EINVAL, "its CPU's description is too long");
    if (rc < 0)
        return rc;
    theirs = g_malloc0(len + 1);
    rc = viv_state_get(r, theirs, len, err);
    if (!rc && strcmp(mine, theirs))
        rc = viv_fail(err, EINVAL, "saved state is of a CPU with '%.200s', this one has '%s': -cpu MODEL,... takes these words",
                      g_str_is_ascii(theirs) ? theirs : "?", mine);
    return rc;
}

static void save_vcpu(struct viv_state_writer *w, struct viv_vcpu *v)
{
    g_autofree char *cpu = g_strdup_printf("cpu/%u", v->index);
    g_autofree char *apic = g_strdup_printf("cpu/%u/apic", v->index);

    viv_state_put_u32(w, v->apic != NULL);
    viv_state_save(w, "vcpu", &viv_vcpu_state, v);
    viv_state_save(w, cpu, &viv_x86_state, v->x86);
    if (v->apic)
        viv_state_save(w, apic, &viv_apic_state, v->apic);
}

static int load_part(struct viv_state_reader *r, const char *path, const struct viv_state_table *t, void *obj, bool check, struct viv_err *err)
{
    return check ? viv_state_check(r, path, t, err) : viv_state_load(r, path, t, obj, err);
}

static int load_vcpu(struct viv_state_reader *r, struct viv_vcpu *v, bool check, struct viv_err *err)
{
    g_autofree char *cpu = g_strdup_printf("cpu/%u", v->index);
    g_autofree char *apic = g_strdup_printf("cpu/%u/apic", v->index);
    uint32_t has_apic;
    int rc = viv_state_get_u32(r, &has_apic, err);

    if (rc < 0)
        return rc;
    if (has_apic != (v->apic != NULL))
        return viv_fail(err, EINVAL, "saved state is of another kind of accelerator");
    rc = load_part(r, "vcpu", &viv_vcpu_state, v, check, err);
    if (!rc)
        rc = load_part(r, cpu, &viv_x86_state, v->x86, check, err);
    if (!rc && v->apic)
        rc = load_part(r, apic, &viv_apic_state, v->apic, check, err);
    return rc;
}

static int make_state(uint8_t **blob, size_t *len, struct viv_err *err)
{
    const struct viv_accel *a = viv_vm_accel();
    struct viv_state_writer *w = viv_state_writer_new();

    save_cpu_model(w);
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        save_vcpu(w, viv_vcpus[i]);
    viv_state_put_u32(w, a->save != NULL);
    if (a->save)
        a->save(w);
    viv_dev_save_all(w);
    *blob = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    if (!*blob)
        return viv_fail(err, EFBIG, "the devices' state has %zu MiB, and at most %llu are loaded again: a virtio-gpu's pictures take them, "
                        "max_hostmem= bounds these", *len >> 20, VIV_STATE_MOST >> 20);
    return 0;
}

/* What an accelerator saves has always the same length. */
static int skip_accel(struct viv_state_reader *r, struct viv_err *err)
{
    struct viv_state_writer *w = viv_state_writer_new();
    g_autofree uint8_t *own = NULL;
    size_t len;

    viv_vm_accel()->save(w);
    own = viv_state_writer_finish(w, &len);
    viv_state_writer_free(w);
    return viv_state_get(r, own, len, err);
}

static int load_sections(struct viv_state_reader *r, uint64_t version, bool check, struct viv_err *err)
{
    const struct viv_accel *a = viv_vm_accel();
    uint32_t has_accel;
    int rc = load_cpu_model(r, version, err);

    for (unsigned i = 0; i < viv_vcpu_count && !rc; i++)
        rc = load_vcpu(r, viv_vcpus[i], check, err);
    if (!rc)
        rc = viv_state_get_u32(r, &has_accel, err);
    if (rc < 0)
        return rc;
    if (has_accel != (a->load != NULL))
        return viv_fail(err, EINVAL, "saved state is of another kind of accelerator");
    if (a->load)
        rc = check ? skip_accel(r, err) : a->load(r, err);
    if (!rc)
        rc = check ? viv_dev_check_all(r, err) : viv_dev_load_all(r, err);
    return rc;
}

static int load_state(struct viv_vm_stream *s, uint64_t version, bool check, struct viv_err *err)
{
    struct viv_state_reader *r;
    uint8_t *blob;
    uint64_t len;
    int rc = viv_vm_stream_get_u64(s, &len, err);

    if (rc < 0)
        return rc;
    blob = len <= VIV_STATE_MOST ? g_try_malloc(len) : NULL;
    if (!blob)
        return viv_fail(err, EINVAL, "saved state: %" PRIu64 " bytes of devices are too many", len);
    rc = viv_vm_stream_get(s, blob, len, err);
    /* The check sum before anything is made of the bytes. */
    if (!rc)
        rc = viv_vm_stream_check_sum(s, err);
    if (!rc) {
        r = viv_state_reader_new(blob, len);
        rc = load_sections(r, version, check, err);
        viv_state_reader_free(r);
    }
    g_free(blob);
    return rc;
}

/* --- the whole --- */

/* Devices that leave are gone then, and what belongs to them is no part of what is saved. */
static bool all_idle(void *unused)
{
    return viv_dev_reap() && viv_dev_idle_all();
}

/* --- clocks --- */


static void get_clocks(uint64_t v[VIV_VM_CLOCKS])
{
    v[VIV_VM_NS] = (uint64_t)viv_clock_ns(VIV_CLOCK_GUEST);
    v[VIV_VM_TSC] = viv_guest_tsc();
    v[VIV_VM_HZ] = viv_tsc_hz();
    viv_kvmclock_get_base(&v[VIV_VM_BASE_TSC], &v[VIV_VM_BASE_NS]);
}

static void set_clocks(const uint64_t v[VIV_VM_CLOCKS])
{
    viv_tsc_hz_set(v[VIV_VM_HZ]);
    viv_guest_clock_set_ns((int64_t)v[VIV_VM_NS]);
    viv_guest_tsc_set(v[VIV_VM_TSC]);
    viv_kvmclock_set_base(v[VIV_VM_BASE_TSC], v[VIV_VM_BASE_NS]);
}

static int load_clocks(struct viv_vm_stream *s, bool check, struct viv_err *err)
{
    uint64_t v[VIV_VM_CLOCKS];
    int rc = 0;

    for (int i = 0; i < VIV_VM_CLOCKS && !rc; i++)
        rc = viv_vm_stream_get_u64(s, &v[i], err);
    if (rc < 0)
        return rc;
    if (v[VIV_VM_NS] > INT64_MAX / 2 || v[VIV_VM_BASE_NS] > v[VIV_VM_NS])
        return viv_fail(err, EINVAL, "its clock is out of range");
    if (!viv_tsc_hz_near(v[VIV_VM_HZ]))
        return viv_fail(err, EINVAL, "it was saved where the TSC runs at %.3f MHz, here it is %.3f MHz",
                        v[VIV_VM_HZ] / 1e6, viv_tsc_hz() / 1e6);
    if (!check)
        set_clocks(v);
    return 0;
}

static int load_wishes(struct viv_vm_stream *s, bool check, struct viv_err *err)
{
    uint64_t bits;
    int rc = viv_vm_stream_get_u64(s, &bits, err);

    if (!rc && (bits > UINT_MAX || !viv_vm_knows_wishes((unsigned)bits)))
        return viv_fail(err, EINVAL, "its machine asked for something unknown (%#" PRIx64 ")", bits);
    if (!rc && !check)
        viv_vm_set_guest_wishes((unsigned)bits);
    return rc;
}

static int flush_disks(struct viv_err *err)
{
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d)) {
        int rc = d->blk && viv_blk_writable(d->blk) ? viv_blk_flush(d->blk) : 0;

        if (rc < 0)
            return viv_fail_os(err, -rc, "cannot flush drive '%s'", d->id);
    }
    return 0;
}

int viv_vm_quiesce(struct viv_err *err)
{
    if (!viv_loop_wait_for(all_idle, NULL, 60 * (int64_t)VIV_NS_PER_SEC))
        return viv_fail(err, ETIMEDOUT, "a device did not become idle within 60 seconds");
    return flush_disks(err);
}

int viv_vm_picture_take(struct viv_vm_picture *p, struct viv_err *err)
{
    int rc;

    *p = (struct viv_vm_picture){0};
    rc = make_state(&p->devices, &p->devices_len, err);
    if (rc < 0)
        return rc;
    p->description = describe();
    get_clocks(p->clocks);
    p->wishes = viv_vm_guest_wishes();
    viv_vm_list_ram(p);
    return 0;
}

void viv_vm_picture_put(struct viv_vm_stream *s, struct viv_vm_picture *p)
{
    viv_vm_stream_put(s, MAGIC, sizeof(MAGIC));
    viv_vm_stream_put_u64(s, VERSION);
    viv_vm_stream_put_u64(s, strlen(p->description));
    viv_vm_stream_put(s, p->description, strlen(p->description));
    for (int i = 0; i < VIV_VM_CLOCKS; i++)
        viv_vm_stream_put_u64(s, p->clocks[i]);
    viv_vm_stream_put_u64(s, p->wishes);
    viv_vm_save_ram(s, p);
    viv_vm_stream_put_u64(s, p->devices_len);
    viv_vm_stream_put(s, p->devices, p->devices_len);
    viv_vm_stream_put_sum(s);
}

void viv_vm_picture_fini(struct viv_vm_picture *p)
{
    for (guint i = 0; p->blocks && i < p->blocks->len; i++)
        g_free((char *)g_array_index(p->blocks, struct viv_ram, i).name);
    g_clear_pointer(&p->blocks, g_array_unref);
    g_free(p->description);
    g_free(p->devices);
}

int viv_vm_put_machine(struct viv_vm_stream *s, struct viv_err *err)
{
    struct viv_vm_picture p;
    int rc = viv_vm_picture_take(&p, err);

    if (rc < 0)
        return rc;
    viv_vm_picture_put(s, &p);
    viv_vm_picture_fini(&p);
    return 0;
}

static int load_head(struct viv_vm_stream *s, uint64_t *version, struct viv_err *err)
{
    g_autofree char *mine = describe(), *theirs = NULL;
    char magic[sizeof(MAGIC)];
    uint64_t len;
    int rc = viv_vm_stream_get(s, magic, sizeof(magic), err);

    if (rc < 0)
        return rc;
    if (memcmp(magic, MAGIC, sizeof(magic)))
        return viv_fail(err, EINVAL, "it is not a saved machine of Vivarium");
    rc = viv_vm_stream_get_u64(s, version, err);
    if (!rc && (*version < OLDEST || *version > VERSION))
        rc = viv_fail(err, EINVAL, "saved by another version (format %" PRIu64 ", this one reads %d to %d)",
                      *version, OLDEST, VERSION);
    if (!rc)
        rc = viv_vm_stream_get_u64(s, &len, err);
    if (!rc && len > MAX_TEXT)
        rc = viv_fail(err, EINVAL, "its description is too long");
    if (rc < 0)
        return rc;
    theirs = g_malloc0(len + 1);
    rc = viv_vm_stream_get(s, theirs, len, err);
    if (!rc && strcmp(mine, theirs))
        rc = viv_fail(err, EINVAL, "it was saved by '%.200s', this machine is '%s'",
                      g_str_is_ascii(theirs) ? theirs : "?", mine);
    return rc;
}

static int get_machine(struct viv_vm_stream *s, bool check, struct viv_err *err)
{
    uint64_t version;
    int rc = load_head(s, &version, err);

    if (!rc)
        rc = load_clocks(s, check, err);
    if (!rc)
        rc = load_wishes(s, check, err);
    if (!rc)
        rc = viv_vm_load_ram(s, check, err);
    return rc ? rc : load_state(s, version, check, err);
}

/* What the machine was before a load. If that is refused the machine may be reset and run, and no reset sets all of it: the date, lines
 * that somebody holds, clocks, what ROM holds. It has to be none of what was refused. Of RAM a reset makes do with anything. */
struct before {
    uint64_t clocks[VIV_VM_CLOCKS];
    unsigned wishes;
    GArray *roms;
    uint8_t *sections; /* NULL: there is more than can be loaded */
    size_t len;
};

static void keep(struct before *b)
{
    struct viv_err err = VIV_ERR_INIT;

    get_clocks(b->clocks);
    b->wishes = viv_vm_guest_wishes();
    b->roms = viv_vm_keep_roms();
    if (make_state(&b->sections, &b->len, &err) < 0)
        viv_err_clear(&err);
}

/* All devices, also those that were not loaded: their state fits each other's. The clocks first, which loaders look at. */
static void put_back(const struct before *b)
{
    struct viv_state_reader *r = viv_state_reader_new(b->sections, b->sections ? b->len : 0);
    struct viv_err err = VIV_ERR_INIT;

    set_clocks(b->clocks);
    viv_vm_set_guest_wishes(b->wishes);
    viv_vm_put_roms_back(b->roms);
    if (load_sections(r, VERSION, false, &err) < 0)
        viv_error("the devices cannot be what they were before: %s", err.text);
    viv_err_clear(&err);
    viv_state_reader_free(r);
}

int viv_vm_get_machine(struct viv_vm_stream *s, struct viv_err *err)
{
    struct before b = {0};
    int rc;

    keep(&b);
    rc = get_machine(s, false, err);
    if (rc < 0)
        put_back(&b);
    viv_vm_drop_roms(b.roms);
    g_free(b.sections);
    return rc;
}

int viv_vm_check_machine(struct viv_vm_stream *s, struct viv_err *err)
{
    return get_machine(s, true, err);
}
