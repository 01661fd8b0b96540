#ifndef VIV_CPU_X86_XLATE_HOST_H
#define VIV_CPU_X86_XLATE_HOST_H

#include "cpu/x86/xlate/xlate_int.h"

/* This thread runs x's code from now on (NULL: none any more). */
void viv_xl_host_thread(struct viv_xlate *x);

#endif
