/* Cells of a terminal as pixels and as a text mode's characters. */
#ifndef VIV_UI_VC_DRAW_H
#define VIV_UI_VC_DRAW_H

#include "ui/console.h"
#include "ui/vc/term.h"

/* Row y, whose pixels must lie within the surface. */
void viv_vc_draw_row(const struct viv_term *t, unsigned y, struct viv_surface *s);
struct viv_text *viv_vc_text(const struct viv_term *t); /* g_free() it */

#endif
