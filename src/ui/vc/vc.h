/* Text consoles: what a serial port or a monitor writes, shown as a screen of the machine's, after the adapters' screens. Device lock
 * held for all calls. */
#ifndef VIV_UI_VC_VC_H
#define VIV_UI_VC_VC_H

#include "base/byname.h"

#include <stddef.h>
#include <stdint.h>

struct viv_vc;

struct viv_vc_ops {
    /* Somebody types; how many bytes are taken. What is not stays until viv_vc_input_wanted(), or goes when there is too much. */
    size_t (*typed)(void *opaque, const uint8_t *bytes, size_t len);
} VIV_BY_NAME;

/* `name`: of its back end. 0 columns and rows: the usual 80 by 24, and they follow the room that a viewer has. */
struct viv_vc *viv_vc_new(const char *name, unsigned columns, unsigned rows, const struct viv_vc_ops *ops, void *opaque);
void viv_vc_free(struct viv_vc *v);
void viv_vc_write(struct viv_vc *v, const uint8_t *bytes, size_t len);
void viv_vc_input_wanted(struct viv_vc *v);

#endif
