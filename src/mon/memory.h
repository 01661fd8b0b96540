/* Guest memory as a debugger sees it. Device lock held, vCPUs stopped. */
#ifndef VIV_MON_MEMORY_H
#define VIV_MON_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_vcpu;

/* At `addr`, linear by the page tables of `v`, or physical if that is NULL. Returns how many bytes could be moved from the
 * first: up to what is not mapped, or no RAM (or ROM, to read). Devices are not touched. */
size_t viv_mon_mem_read(struct viv_vcpu *v, uint64_t addr, uint8_t *buf, size_t len);
size_t viv_mon_mem_write(struct viv_vcpu *v, uint64_t addr, const uint8_t *buf, size_t len);

#endif
