/* Inside src/export. */
#ifndef VIV_EXPORT_EXPORT_INT_H
#define VIV_EXPORT_EXPORT_INT_H

#include "block/blk.h"
#include "export/export.h"

#include <stdint.h>

struct viv_export {
    const struct viv_export_type *type;
    char *id, *node_name;
    struct viv_blk *blk;
    bool writable; /* was asked for, and the node is */
    void *state;   /* the type's */
    uint64_t serial; /* of all exports of this process */
    struct viv_export *next;
};

struct viv_export_type {
    const char *name;
    const struct viv_opt_def *opts;
    bool resizes; /* users that may write may also change the size */
    /* blk is open. 0: users may come. */
    int (*open)(struct viv_export *x, struct viv_opts *o, struct viv_err *err);
    /* No user is left behind. -EBUSY: there are some, and `hard` is false: nothing has changed. */
    int (*close)(struct viv_export *x, bool hard);
};

extern const struct viv_export_type viv_export_nbd, viv_export_vhost_user_blk, viv_export_fuse;

/* What all of them take; read by export.c. */
#define VIV_EXPORT_OPTS                                                                                          \
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "name of the export"},                         \
    {.name = "node-name", .type = VIV_OPT_STR, .required = true, .help = "the block node"},                      \
    {.name = "writable", .type = VIV_OPT_BOOL, .help = "users may write"},                                       \
    {.name = "writethrough", .type = VIV_OPT_BOOL, .help = "each write is durable when it is answered"},         \
    {.name = "iothread", .type = VIV_OPT_REFUSED, .help = "an export has threads of its own; leave it out"},     \
    {.name = "fixed-iothread", .type = VIV_OPT_REFUSED, .help = "an export has threads of its own; leave it out"}

/* Where it listens: addr.type=unix|inet|fd. */
#define VIV_EXPORT_ADDR_OPTS                                                                                     \
    {.name = "addr.type", .type = VIV_OPT_STR, .required = true, .help = "unix, inet or fd"},                    \
    {.name = "addr.path", .type = VIV_OPT_STR, .help = "unix: the socket"},                                      \
    {.name = "addr.host", .type = VIV_OPT_STR, .help = "inet: name or address"},                                 \
    {.name = "addr.port", .type = VIV_OPT_STR, .help = "inet: port number or service"},                          \
    {.name = "addr.str", .type = VIV_OPT_STR, .help = "fd: number of a listening socket"},                       \
    {.name = "addr.abstract", .type = VIV_OPT_REFUSED, .help = "not implemented yet"},                           \
    {.name = "addr.tight", .type = VIV_OPT_REFUSED, .help = "not implemented yet"},                              \
    {.name = "addr.to", .type = VIV_OPT_REFUSED, .help = "not implemented yet"},                                 \
    {.name = "addr.numeric", .type = VIV_OPT_REFUSED, .help = "not implemented yet"},                            \
    {.name = "addr.ipv4", .type = VIV_OPT_REFUSED, .help = "not implemented yet"},                               \
    {.name = "addr.ipv6", .type = VIV_OPT_REFUSED, .help = "not implemented yet"},                               \
    {.name = "addr.keep-alive", .type = VIV_OPT_REFUSED, .help = "not implemented yet"},                         \
    {.name = "addr.mptcp", .type = VIV_OPT_REFUSED, .help = "not implemented yet"}

#define VIV_EXPORT_LISTEN_MAX 16

struct viv_export_listen {
    int fds[VIV_EXPORT_LISTEN_MAX];
    unsigned count;
    char *path; /* to be removed at the end, or NULL */
};

/* listen.c. */
int viv_export_listen(struct viv_opts *o, int backlog, struct viv_export_listen *out, struct viv_err *err);
void viv_export_listen_fini(struct viv_export_listen *l);

/* Any thread: its users have ended it; it is deleted by the main thread soon. */
void viv_export_ended(struct viv_export *x);
/* Deletes all exports of a type. */
int viv_export_del_type(const struct viv_export_type *type, struct viv_err *err);

#endif
