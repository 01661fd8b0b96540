/* `-object filter-dump`: the frames of a back end into a pcap file. Device lock held. */
#ifndef VIV_NET_DUMP_H
#define VIV_NET_DUMP_H

#include "base/err.h"
#include "opt/opt.h"

extern const struct viv_opt_def viv_dump_opts[];
int viv_dump_add(struct viv_opts *o, struct viv_err *err);
int viv_dump_del(const char *id, struct viv_err *err);
void viv_dump_free_all(void);

#endif
