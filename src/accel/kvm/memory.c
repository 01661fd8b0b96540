/* Memory slots from the flat view of guest memory, and the kernel's dirty log. Device lock held throughout.
 *
 * RAM becomes a slot, ROM a read-only one (its writes come out as MMIO). The view is compared with the slots there
 * are, and only what differs is deleted and made: other vCPUs run meanwhile. An access that falls into the moment
 * between goes through viv_space_read/write, which is right, only slower. */
#include "accel/kvm/kvm_int.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/units.h"
#include "cpu/vcpu.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static int set_slot(unsigned n, const struct kvm_slot *s)
{
    struct kvm_userspace_memory_region mr = {
        .slot = n,
        .flags = s->flags,
        .guest_phys_addr = s->start,
        .memory_size = s->size,
        .userspace_addr = (uintptr_t)s->hva,
    };

    return viv_kvm_ioctl(viv_kvm->fd, KVM_SET_USER_MEMORY_REGION, &mr);
}

static struct viv_ram *ram_of(const uint8_t *hva)
{
    for (struct viv_ram *r = viv_ram_next(NULL); r; r = viv_ram_next(r))
        if (hva >= r->hva && hva < r->hva + r->size)
            return r;
    return NULL;
}

static GPtrArray *logged; /* struct viv_ram being logged; not owned */

static bool is_logged(const uint8_t *hva)
{
    return logged && g_ptr_array_find(logged, ram_of(hva), NULL);
}

/* What shadow RAM does below 1 MiB, and the A20 gate below 2, must not take the rest away for a moment. */
static bool is_border(uint64_t addr)
{
    return addr == VIV_MIB || addr == 2 * VIV_MIB;
}

static void add_slot(GArray *out, const struct kvm_slot *s)
{
    struct kvm_slot *last = out->len ? &g_array_index(out, struct kvm_slot, out->len - 1) : NULL;

    if (last && !is_border(s->start) && last->start + last->size == s->start && last->hva + last->size == s->hva &&
        last->flags == s->flags && ram_of(last->hva) == ram_of(s->hva))
        last->size += s->size;
    else
        g_array_append_val(out, *s);
}

static void add_pieces(GArray *out, struct kvm_slot s)
{
    for (uint64_t at = VIV_MIB; at <= 2 * VIV_MIB; at += VIV_MIB) {
        struct kvm_slot below = s;

        if (at <= s.start || at >= s.start + s.size)
            continue;
        below.size = at - s.start;
        add_slot(out, &below);
        s.start += below.size;
        s.hva += below.size;
        s.size -= below.size;
    }
    add_slot(out, &s);
}

/* The slots that should be: page-aligned, neighbours joined. */
static GArray *wanted_slots(void)
{
    GArray *out = g_array_new(FALSE, TRUE, sizeof(struct kvm_slot));
    size_t count;
    g_autofree struct viv_space_range *ranges = viv_space_ranges(viv_kvm->mem, &count);

    for (size_t i = 0; i < count; i++) {
        const struct viv_space_range *r = &ranges[i];
        struct kvm_slot s = {.used = true};
        uint64_t start, end = r->last + 1;

        if (r->kind == VIV_REGION_IO || (r->kind == VIV_REGION_ROM && !viv_kvm->cap_readonly))
            continue;
        if (!viv_align_up_checked(r->start, VIV_PAGE_SIZE, &start) || (end & VIV_PAGE_MASK) <= start)
            continue;
        s.start = start;
        s.size = (end & VIV_PAGE_MASK) - start;
        s.hva = r->hva + (start - r->start);
        s.flags = (r->kind == VIV_REGION_ROM ? KVM_MEM_READONLY : 0) |
                  (is_logged(s.hva) ? KVM_MEM_LOG_DIRTY_PAGES : 0);
        add_pieces(out, s);
    }
    return out;
}

static bool same_place(const struct kvm_slot *a, const struct kvm_slot *b)
{
    return a->start == b->start && a->size == b->size && a->hva == b->hva &&
           !((a->flags ^ b->flags) & KVM_MEM_READONLY);
}

static int sync_slot(unsigned n, const struct viv_ram *ram, unsigned long *bitmap);

static bool others_run(void)
{
    return viv_vcpu_count > (viv_vcpu_self ? 1 : 0);
}

/* A slot's log goes with it: what it knows is told to the clients as if we had written there. What CPUs write between that and the
 * slot's end nobody would know; it cannot be made read-only first. */
static void keep_log(unsigned n)
{
    const struct kvm_slot *s = &viv_kvm->slots[n];
    struct viv_ram *ram = s->flags & KVM_MEM_LOG_DIRTY_PAGES ? ram_of(s->hva) : NULL;
    size_t bits = 8 * sizeof(unsigned long), pages = ram ? ram->size >> VIV_PAGE_SHIFT : 0;
    g_autofree unsigned long *map = ram && !others_run() ? g_try_malloc0((pages + bits - 1) / bits * sizeof(*map)) : NULL;

    if (!ram)
        return;
    if (!map || sync_slot(n, ram, map) < 0) {
        viv_ram_written(s->hva, s->size); /* all of it, then */
        return;
    }
    for (size_t p = 0; p < pages; p++) {
        if (map[p / bits] >> (p % bits) & 1)
            viv_ram_written(ram->hva + (p << VIV_PAGE_SHIFT), 1);
    }
}

static void drop_stale(GArray *want)
{
    for (unsigned n = 0; n < viv_kvm->max_slots; n++) {
        struct kvm_slot *s = &viv_kvm->slots[n];
        bool keep = false;

        if (!s->used)
            continue;
        for (guint i = 0; i < want->len; i++) {
            struct kvm_slot *w = &g_array_index(want, struct kvm_slot, i);

            if (!same_place(s, w))
                continue;
            if (s->flags != w->flags) { /* logging on or off is done in place */
                s->flags = w->flags;
                set_slot(n, s);
            }
            w->used = false; /* nothing to make */
            keep = true;
        }
        if (keep)
            continue;
        keep_log(n);
        memset(s, 0, sizeof(*s));
        set_slot(n, s);
    }
}

static int make_missing(GArray *want)
{
    unsigned n = 0;

    for (guint i = 0; i < want->len; i++) {
        struct kvm_slot *w = &g_array_index(want, struct kvm_slot, i);
        int ret;

        if (!w->used)
            continue;
        while (n < viv_kvm->max_slots && viv_kvm->slots[n].used)
            n++;
        if (n == viv_kvm->max_slots)
            return -ENOSPC;
        ret = set_slot(n, w);
        if (ret < 0)
            return ret;
        viv_kvm->slots[n] = *w;
    }
    return 0;
}

static int update(void)
{
    GArray *want = wanted_slots();
    int ret;

    drop_stale(want);
    ret = make_missing(want);
    g_array_unref(want);
    return ret;
}

static void changed(void *opaque)
{
    int ret = update();

    /* Guest accesses to a missing slot are done as MMIO: slow, and code there cannot run. */
    if (ret < 0)
        viv_error("KVM: guest memory cannot be mapped: %s", strerror(-ret));
}

/* Adds the kernel's dirty pages of one slot to the block's bitmap. */
static int sync_slot(unsigned n, const struct viv_ram *ram, unsigned long *bitmap)
{
    const struct kvm_slot *s = &viv_kvm->slots[n];
    size_t pages = s->size >> VIV_PAGE_SHIFT, first = (size_t)(s->hva - ram->hva) >> VIV_PAGE_SHIFT;
    size_t bits = 8 * sizeof(unsigned long);
    g_autofree unsigned long *dirty = g_try_malloc0((pages + 63) / 64 * 8);
    struct kvm_dirty_log log = {.slot = n};
    int ret;

    if (!dirty)
        return -ENOMEM;
    log.dirty_bitmap = dirty;
    ret = viv_kvm_ioctl(viv_kvm->fd, KVM_GET_DIRTY_LOG, &log);
    if (ret < 0)
        return ret;
    for (size_t p = 0; p < pages; p++)
        if (dirty[p / bits] >> (p % bits) & 1)
            bitmap[(first + p) / bits] |= 1ul << ((first + p) % bits);
    return 0;
}

static int log_start(void *opaque, struct viv_ram *ram)
{
    if (!logged)
        logged = g_ptr_array_new();
    g_ptr_array_add(logged, ram);
    return update();
}

static int log_sync(void *opaque, struct viv_ram *ram, unsigned long *bitmap)
{
    for (unsigned n = 0; n < viv_kvm->max_slots; n++) {
        const struct kvm_slot *s = &viv_kvm->slots[n];
        int ret;

        if (!s->used || !(s->flags & KVM_MEM_LOG_DIRTY_PAGES) || ram_of(s->hva) != ram)
            continue;
        ret = sync_slot(n, ram, bitmap);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static void log_stop(void *opaque, struct viv_ram *ram)
{
    if (logged)
        g_ptr_array_remove(logged, ram);
    changed(NULL);
}

int viv_kvm_memory_init(struct viv_err *err)
{
    static const struct viv_ram_log_source source = {.start = log_start, .sync = log_sync, .stop = log_stop};
    int slots = viv_kvm_cap(KVM_CAP_NR_MEMSLOTS);

    viv_kvm->max_slots = (unsigned)CLAMP(slots, 32, 512);
    viv_kvm->cap_readonly = viv_kvm_cap(KVM_CAP_READONLY_MEM) > 0;
    viv_kvm->slots = g_new0(struct kvm_slot, viv_kvm->max_slots);
    viv_space_listen(viv_kvm->mem, changed, NULL);
    viv_ram_set_log_source(&source);
    changed(NULL);
    return 0;
}
