/* Inside blkdebug: its rules. */
#ifndef VIV_BLOCK_FILTER_BLKDEBUG_INT_H
#define VIV_BLOCK_FILTER_BLKDEBUG_INT_H

#include "block/event.h"
#include "block/node.h"
#include "opt/opt.h"

enum debug_io {
    DEBUG_READ,
    DEBUG_WRITE,
    DEBUG_WRITE_ZEROES,
    DEBUG_DISCARD,
    DEBUG_FLUSH,
    DEBUG_IO_ALL
};

struct debug_rule {
    enum { DEBUG_INJECT, DEBUG_SET_STATE, DEBUG_BREAK } what;
    enum viv_event event;
    int64_t state; /* it works in; 0: in any */
    int64_t new_state;
    int error;
    int64_t sector; /* -1: any request */
    bool once;
    enum debug_io io;
    bool active;    /* INJECT: its event was the last one that any had */
    char *tag;      /* BREAK */
    unsigned limit_ms; /* likewise; 0: for ever */
    struct debug_rule *next;
};

void viv_debug_rules_free(struct debug_rule *r);
/* Of a file with sections [inject-error] and [set-state], and of options "inject-error.0.event" and so on. */
int viv_debug_rules_load(const char *path, struct debug_rule **rules, struct viv_err *err);
int viv_debug_rules_parse(struct viv_raw_opts *lists, struct debug_rule **rules, struct viv_err *err);

/* Bytes; 0: no limit, but for align, which is 1 then. */
struct debug_limits {
    uint64_t align, max_transfer, opt_write_zero, max_write_zero, opt_discard, max_discard;
};
int viv_debug_limits_read(struct viv_opts *o, struct debug_limits *l, struct viv_err *err);

/* A request becomes those that the limits allow, each of which is done by `one`. */
typedef int debug_transfer_fn(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len);
typedef int debug_range_fn(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int viv_debug_transfer(struct viv_node *n, const struct debug_limits *l, bool write, debug_transfer_fn *read_one, debug_transfer_fn *write_one,
                       uint64_t offset, const struct iovec *iov, int cnt, size_t len);
int viv_debug_write_zeroes(struct viv_node *n, const struct debug_limits *l, debug_range_fn *one, uint64_t offset, uint64_t len, unsigned flags);
int viv_debug_discard(struct viv_node *n, const struct debug_limits *l, debug_range_fn *one, uint64_t offset, uint64_t len);

#endif
