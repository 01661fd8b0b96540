#include "mon/memory.h"

#include "cpu/vcpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/state.h"
#include "machine/vm.h"
#include "mem/space.h"

#include <glib.h>
#include <string.h>

#define PAGE 4096u

/* Host address of `addr` and how many bytes may be used there, at most up to the page's end. NULL: not to be had. */
static uint8_t *at(struct viv_vcpu *v, uint64_t addr, bool write, size_t *room)
{
    struct viv_space_range r;
    uint64_t gpa = addr;

    if (v && !viv_mmu_translate_debug(v->x86, addr, &gpa))
        return NULL;
    if (!viv_space_find(v ? v->x86->mem : viv_vm_board()->mem, gpa, &r) || !r.hva || (write && r.kind != VIV_REGION_RAM))
        return NULL;
    *room = (size_t)MIN(PAGE - (addr & (PAGE - 1)), r.last - gpa + 1);
    return r.hva + (gpa - r.start);
}

size_t viv_mon_mem_read(struct viv_vcpu *v, uint64_t addr, uint8_t *buf, size_t len)
{
    size_t done = 0, n;
    uint8_t *p;

    for (; done < len && (p = at(v, addr + done, false, &n)); done += n) {
        n = MIN(n, len - done);
        memcpy(buf + done, p, n);
    }
    return done;
}

size_t viv_mon_mem_write(struct viv_vcpu *v, uint64_t addr, const uint8_t *buf, size_t len)
{
    size_t done = 0, n;
    uint8_t *p;

    for (; done < len && (p = at(v, addr + done, true, &n)); done += n) {
        n = MIN(n, len - done);
        memcpy(p, buf + done, n);
        viv_ram_written(p, n);
    }
    return done;
}
