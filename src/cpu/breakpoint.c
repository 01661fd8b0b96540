/* The lists are changed while no vCPU runs, and read by all of them. */
#include "cpu/breakpoint.h"

#include "cpu/vcpu.h"
#include "cpu/x86/debug.h"

#include <errno.h>
#include <string.h>

struct point {
    enum viv_break_kind kind;
    uint64_t lin, last; /* first and last byte */
};

static struct point points[VIV_BREAKS_MAX];
static unsigned count, epoch;
static bool (*stands_in_memory)(uint64_t lin);

static struct point *find(enum viv_break_kind kind, uint64_t lin, uint64_t len)
{
    for (unsigned i = 0; i < count; i++) {
        if (points[i].kind == kind && points[i].lin == lin && points[i].last == lin + len - 1)
            return &points[i];
    }
    return NULL;
}

static bool is_exec(const struct point *p)
{
    return p->kind == VIV_BREAK_EXEC || p->kind == VIV_BREAK_HARD;
}

/* Which of the two kinds there are, to every CPU. */
static void tell_cpus(void)
{
    uint8_t on = 0;

    epoch++;
    for (unsigned i = 0; i < count; i++)
        on |= is_exec(&points[i]) ? VIV_BREAK_ON_EXEC : VIV_BREAK_ON_DATA;
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        struct viv_x86 *c = viv_vcpus[i]->x86;

        c->breaks.on = (uint8_t)((c->breaks.on & (VIV_BREAK_ON_STEP | VIV_BREAK_ON_MASK)) | on);
        viv_debug_changed(c);
    }
}

/* SDM 3B 17.2.5: a register's bytes are aligned. More than `room`: how many does not matter. */
static unsigned split(const struct point *p, struct viv_break_register *reg, unsigned room)
{
    uint64_t lin = p->lin, left = p->last - p->lin + 1;
    unsigned n = 0;

    if (p->kind == VIV_BREAK_EXEC && stands_in_memory(lin))
        return 0;
    for (; left && n < room; n++) {
        unsigned len = 8;

        while (lin % len || len > left)
            len /= 2;
        reg[n] = (struct viv_break_register){is_exec(p) ? VIV_BREAK_EXEC : p->kind, lin, p->lin, len};
        lin += len;
        left -= len;
    }
    return left ? room + 1 : n;
}

unsigned viv_break_registers(struct viv_break_register reg[VIV_BREAK_REGISTERS])
{
    unsigned n = 0;

    /* What stood in memory may be mapped no more: then it gets what is left. */
    for (unsigned i = 0; i < count; i++) {
        unsigned room = VIV_BREAK_REGISTERS - n, used = split(&points[i], reg + n, room);

        n += used <= room ? used : 0;
    }
    return n;
}

static int check_registers(const struct point *p, struct viv_err *err)
{
    struct viv_break_register reg[VIV_BREAK_REGISTERS];
    unsigned used = viv_break_registers(reg), room = VIV_BREAK_REGISTERS - used;

    if (p->kind == VIV_BREAK_READ)
        return viv_fail(err, ENOTSUP, "under KVM a watchpoint is the CPU's, which has none for reads alone; awatch stops at reads and writes");
    if (split(p, reg, room) > room)
        return viv_fail(err, ENOSPC, "under KVM watchpoints, and breakpoints where no memory is mapped, are the CPU's: %u of its %u registers are in use; -accel xlate has %u",
                        used, VIV_BREAK_REGISTERS, VIV_BREAKS_MAX);
    return 0;
}

void viv_break_use_registers(bool (*in_memory)(uint64_t lin))
{
    stands_in_memory = in_memory;
}

bool viv_break_exec(unsigned n, uint64_t *lin)
{
    for (unsigned i = 0; i < count; i++) {
        if (points[i].kind == VIV_BREAK_EXEC && !n--) {
            *lin = points[i].lin;
            return true;
        }
    }
    return false;
}

int viv_break_set(enum viv_break_kind kind, uint64_t lin, uint64_t len, struct viv_err *err)
{
    struct point p = {kind, lin, lin + len - 1};
    int rc;

    if (!len || lin + len - 1 < lin)
        return viv_fail(err, EINVAL, "a breakpoint of %llu bytes at 0x%llx is none", (unsigned long long)len, (unsigned long long)lin);
    if (find(kind, lin, len))
        return 0;
    if (count == VIV_BREAKS_MAX)
        return viv_fail(err, ENOSPC, "there are %u breakpoints already", count);
    if (stands_in_memory && (rc = check_registers(&p, err)) < 0)
        return rc;
    points[count++] = p;
    tell_cpus();
    return 0;
}

int viv_break_remove(enum viv_break_kind kind, uint64_t lin, uint64_t len)
{
    struct point *p = find(kind, lin, len);

    if (!p)
        return -ENOENT;
    *p = points[--count];
    tell_cpus();
    return 0;
}

void viv_break_remove_all(void)
{
    count = 0;
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        viv_vcpus[i]->x86->breaks = (struct viv_break_cpu){0};
    tell_cpus();
}

unsigned viv_break_count(void)
{
    return count;
}

void viv_break_step(struct viv_vcpu *v, bool mask_irqs)
{
    struct viv_break_cpu *b = &v->x86->breaks;

    b->on = (uint8_t)((b->on & ~VIV_BREAK_ON_MASK) | VIV_BREAK_ON_STEP | (mask_irqs ? VIV_BREAK_ON_MASK : 0));
    b->stepped = false;
    viv_debug_changed(v->x86);
}

void viv_break_unstep(void)
{
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        struct viv_break_cpu *b = &viv_vcpus[i]->x86->breaks;

        b->on &= (uint8_t)~(VIV_BREAK_ON_STEP | VIV_BREAK_ON_MASK);
        b->stepped = false;
        viv_debug_changed(viv_vcpus[i]->x86);
    }
}

void viv_break_resume(void)
{
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        struct viv_break_cpu *b = &viv_vcpus[i]->x86->breaks;

        if (b->is_hit && (b->hit.step || b->hit.kind == VIV_BREAK_EXEC))
            b->is_hit = false;
    }
}

bool viv_break_take_hit(struct viv_vcpu *v, struct viv_break_hit *hit)
{
    struct viv_break_cpu *b = &v->x86->breaks;

    if (!b->is_hit)
        return false;
    *hit = b->hit;
    b->is_hit = false;
    return true;
}

/* ---- on the vCPU's thread ---- */

bool viv_break_at(uint64_t lin)
{
    for (unsigned i = 0; i < count; i++) {
        if (is_exec(&points[i]) && points[i].lin == lin)
            return true;
    }
    return false;
}

unsigned viv_break_epoch(void)
{
    return epoch;
}

void viv_break_offsets(uint64_t bits[64])
{
    memset(bits, 0, 64 * sizeof(*bits));
    for (unsigned i = 0; i < count; i++) {
        unsigned off = points[i].lin & 4095;

        if (is_exec(&points[i]))
            bits[off / 64] |= 1ull << off % 64;
    }
}

bool viv_break_watches(uint64_t lin, uint64_t len)
{
    for (unsigned i = 0; i < count; i++) {
        if (!is_exec(&points[i]) && points[i].lin <= lin + len - 1 && lin <= points[i].last)
            return true;
    }
    return false;
}

void viv_break_data(struct viv_break_cpu *b, uint64_t lin, uint64_t len, bool write)
{
    for (unsigned i = 0; i < count && !b->is_hit; i++) {
        const struct point *p = &points[i];

        if (is_exec(p) || p->kind == (write ? VIV_BREAK_READ : VIV_BREAK_WRITE))
            continue;
        if (p->lin <= lin + len - 1 && lin <= p->last) {
            b->hit = (struct viv_break_hit){.kind = p->kind, .lin = lin > p->lin ? lin : p->lin};
            b->is_hit = true;
        }
    }
}

bool viv_break_boundary(struct viv_break_cpu *b, uint64_t lin)
{
    if (b->is_hit) /* of the instruction that has just ended, or not yet taken */
        ;
    else if (b->on & VIV_BREAK_ON_STEP && b->stepped)
        b->hit = (struct viv_break_hit){.step = true, .lin = lin};
    else if (!(b->on & VIV_BREAK_ON_STEP) && b->on & VIV_BREAK_ON_EXEC && viv_break_at(lin))
        b->hit = (struct viv_break_hit){.kind = VIV_BREAK_EXEC, .lin = lin};
    else {
        b->stepped = true;
        return false;
    }
    b->is_hit = true;
    b->stepped = false;
    b->on &= (uint8_t)~(VIV_BREAK_ON_STEP | VIV_BREAK_ON_MASK);
    return true;
}
