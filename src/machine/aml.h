/* A small writer of AML, the byte code of ACPI's DSDT (ACPI 6.4, chapter 20).
 *
 * Terms are written front to back. What has a PkgLength (scopes, devices, methods, packages, buffers) is
 * opened and closed: the length is put in when it is closed. Names are written as in ASL: "\\_SB.PCI0", "LNKA".
 * Board code only, before the guest runs; nothing here sees guest data. */
#ifndef VIV_MACHINE_AML_H
#define VIV_MACHINE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_aml;

struct viv_aml *viv_aml_new(void);
void viv_aml_free(struct viv_aml *a);
/* What was written so far; borrowed. All opened terms must be closed. */
const uint8_t *viv_aml_data(const struct viv_aml *a, size_t *len);

/* Closed by viv_aml_close(). */
void viv_aml_scope(struct viv_aml *a, const char *name);
void viv_aml_device(struct viv_aml *a, const char *name);
void viv_aml_method(struct viv_aml *a, const char *name, unsigned args, bool serialized);
void viv_aml_package(struct viv_aml *a, unsigned count);
void viv_aml_if(struct viv_aml *a); /* the predicate is the next term */
void viv_aml_else(struct viv_aml *a);
void viv_aml_close(struct viv_aml *a);

/* Terms. */
void viv_aml_name(struct viv_aml *a, const char *name); /* Name (name, <next term>) */
void viv_aml_int(struct viv_aml *a, uint64_t v);
void viv_aml_string(struct viv_aml *a, const char *s);
void viv_aml_eisaid(struct viv_aml *a, const char *id); /* "PNP0A03" as its dword */
void viv_aml_buffer(struct viv_aml *a, const uint8_t *data, uint8_t len);
void viv_aml_ref(struct viv_aml *a, const char *name);  /* an object by name; a method is called with the terms behind it */
void viv_aml_arg(struct viv_aml *a, unsigned n);
void viv_aml_local(struct viv_aml *a, unsigned n);
void viv_aml_return(struct viv_aml *a); /* of the next term */
void viv_aml_store(struct viv_aml *a);  /* of the next term into the one after it */
void viv_aml_and(struct viv_aml *a);    /* of the next two; result to the third (viv_aml_null: nowhere) */
void viv_aml_or(struct viv_aml *a);
void viv_aml_equal(struct viv_aml *a); /* compares the next two */
/* A mutex, and the statements that take it (however long that takes) and give it back. */
void viv_aml_mutex(struct viv_aml *a, const char *name);
void viv_aml_acquire(struct viv_aml *a, const char *mutex);
void viv_aml_release(struct viv_aml *a, const char *mutex);
void viv_aml_null(struct viv_aml *a);  /* no target */
void viv_aml_notify(struct viv_aml *a, const char *object, uint64_t value);
/* CreateDWordField (<buffer>, <byte offset>, <name>): the next three terms. */
void viv_aml_dword_field(struct viv_aml *a);

enum { VIV_AML_SYSTEM_MEMORY = 0, VIV_AML_SYSTEM_IO = 1, VIV_AML_PCI_CONFIG = 2 };
void viv_aml_region(struct viv_aml *a, const char *name, uint8_t space, uint64_t offset, uint64_t len);
/* Field (region, access width, NoLock, Preserve) { names[0], bits, names[1], bits ... } */
void viv_aml_field(struct viv_aml *a, const char *region, unsigned access_bytes,
                   const char *const *names, unsigned count, unsigned bits);

/* Resource templates: viv_aml_resources(), descriptors, viv_aml_close(). ACPI 6.4, 6.4. */
void viv_aml_resources(struct viv_aml *a);
void viv_aml_res_io(struct viv_aml *a, uint16_t base, uint8_t len);
void viv_aml_res_irq(struct viv_aml *a, unsigned irq); /* edge, high, exclusive: an ISA line */
void viv_aml_res_mem32(struct viv_aml *a, uint32_t base, uint32_t len);
/* Extended interrupt: consumer. */
void viv_aml_res_gsi(struct viv_aml *a, const uint32_t *gsi, unsigned count, bool level,
                     bool active_low, bool shared);
void viv_aml_res_dma(struct viv_aml *a, unsigned channel); /* 8 bits wide */
/* Windows of a host bridge (producer). */
void viv_aml_res_bus(struct viv_aml *a, uint16_t first, uint16_t last);
void viv_aml_res_io_window(struct viv_aml *a, uint16_t first, uint16_t last);
void viv_aml_res_mem_window(struct viv_aml *a, uint64_t first, uint64_t last, bool cacheable);

#endif
