/* Inside opt/: what a set of raw pairs is. */
#ifndef VIV_OPT_RAW_INT_H
#define VIV_OPT_RAW_INT_H

#include "opt/opt.h"

#include <glib.h>

struct viv_raw_pair {
    char *key, *value;
    bool bare; /* a word without '=': value is "on" */
};

struct viv_raw_opts {
    char *what;
    GArray *pairs; /* of struct viv_raw_pair, in the order given */
};

#endif
