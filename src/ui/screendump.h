/* A console's picture as a file. */
#ifndef VIV_UI_SCREENDUMP_H
#define VIV_UI_SCREENDUMP_H

#include "base/err.h"
#include "ui/console.h"

enum viv_picture { VIV_PICTURE_PPM, VIV_PICTURE_PNG };

/* Brings the console up to date first. -ENODATA: it shows nothing now. Loop thread, device lock held; it is released for
 * the time of writing. */
int viv_screendump(struct viv_console *c, const char *path, enum viv_picture format, struct viv_err *err);

#endif
