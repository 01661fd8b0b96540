/* The option tables of drives and of all nodes; the drivers have their own. drive.c and build.c read them. */
#include "block/options.h"

static const char *const discard_values[] = {"ignore", "off", "unmap", "on", NULL};
static const char *const zeroes_values[] = {"off", "on", "unmap", NULL};
const char *const viv_locking_values[] = {"auto", "on", "off", NULL};
const char *const viv_aio_values[] = {"threads", "native", "io_uring", NULL};
static const char *const cache_values[] = {"writeback",  "none",   "writethrough",
                                           "directsync", "unsafe", NULL};
static const char *const if_values[] = {"ide",    "sata", "scsi",   "sd",   "mtd", "floppy",
                                        "pflash", "virtio", "none", NULL};
static const char *const media_values[] = {"disk", "cdrom", NULL};
static const char *const error_values[] = {"report", "ignore", "enospc", "stop", NULL};


/* Of nodes, and of drives for their image's. */
#define NODE_OPTS                                                                                  \
    {"node-name", VIV_OPT_STR, "name by which others refer to this node"},                         \
        {"read-only", VIV_OPT_BOOL, "nobody may write"},                                           \
        {"auto-read-only", VIV_OPT_BOOL, "open read-only when the file allows no more"},           \
        {"discard", VIV_OPT_ENUM, "unmap: discards of the guest free space in the image",          \
         "ignore", discard_values},                                                                \
        {"detect-zeroes", VIV_OPT_ENUM, "turn writes of zeroes into holes", "off", zeroes_values}, \
        {"cache.direct", VIV_OPT_BOOL, "bypass the host's page cache (O_DIRECT)"},                 \
        {"cache.no-flush", VIV_OPT_BOOL, "ignore flushes: a host crash loses the image"},          \
    {                                                                                              \
        "force-share", VIV_OPT_BOOL, "open without locks although others may write (read-only)"    \
    }

/* One limit, under its name and the one of old: the rate, that of bursts and how long they may be. */
#define LIMIT(name, old, type, what)                                                               \
    {"throttling." name, type, what " a second"}, {old, type, "throttling." name},                 \
        {"throttling." name "-max", type, what " a second in bursts"},                             \
        {old "_max", type, "throttling." name "-max"},                                             \
    {                                                                                              \
        "throttling." name "-max-length", VIV_OPT_INT, "seconds of a burst", .min = 1,             \
            .max = 1000000                                                                         \
    }

#define LIMIT_OPTS                                                                                 \
    LIMIT("bps-total", "bps", VIV_OPT_SIZE, "bytes"), LIMIT("bps-read", "bps_rd", VIV_OPT_SIZE, "bytes read"), \
        LIMIT("bps-write", "bps_wr", VIV_OPT_SIZE, "bytes written"),                               \
        LIMIT("iops-total", "iops", VIV_OPT_INT, "requests"),                                      \
        LIMIT("iops-read", "iops_rd", VIV_OPT_INT, "reads"),                                       \
        LIMIT("iops-write", "iops_wr", VIV_OPT_INT, "writes"),                                     \
        {"throttling.iops-size", VIV_OPT_SIZE, "a larger request counts as many of this size"},    \
        {"iops_size", VIV_OPT_SIZE, "throttling.iops-size"},                                       \
        {"throttling.group", VIV_OPT_STR, "disks of one group share its limits"},                  \
    {                                                                                              \
        "group", VIV_OPT_STR, "throttling.group"                                                   \
    }

#define DRIVE_REFUSED                                                                              \
        {"addr", VIV_OPT_REFUSED, "give the address to -device"},                                  \
        {"cyls", VIV_OPT_REFUSED, "give the geometry to -device"},                                 \
        {"heads", VIV_OPT_REFUSED, "give the geometry to -device"},                                \
        {"secs", VIV_OPT_REFUSED, "give the geometry to -device"},                                 \
    {                                                                                              \
        "trans", VIV_OPT_REFUSED, "give the geometry to -device"                                   \
    }

const struct viv_opt_def viv_drive_opts[] = {
    {"file", VIV_OPT_STR, "the image: a file or a block device"},
    {"format", VIV_OPT_STR, "raw, qcow2 ...; probed when absent"},
    {"if", VIV_OPT_ENUM, "interface; none: for a -device with drive=ID", NULL, if_values},
    {"id", VIV_OPT_STR, "name for -device drive=ID"},
    {"media", VIV_OPT_ENUM, "disk or cdrom", "disk", media_values},
    {"index", VIV_OPT_INT, "which of the interface's drives", .min = 0, .max = 255},
    {"bus", VIV_OPT_INT, "which bus of the interface", .min = 0, .max = 255},
    {"unit", VIV_OPT_INT, "which drive of the bus", .min = 0, .max = 255},
    {"serial", VIV_OPT_STR, "serial number the guest sees"},
    {"readonly", VIV_OPT_BOOL, "as read-only"},
    {"cache", VIV_OPT_ENUM,
     "host cache: writeback, none (O_DIRECT), writethrough, directsync, unsafe", "writeback",
     cache_values},
    {"cache.writeback", VIV_OPT_BOOL, "off: each write is durable when it completes"},
    {"snapshot", VIV_OPT_BOOL, "writes go to a temporary file and are lost at exit"},
    {"copy-on-read", VIV_OPT_BOOL, "what is read from the backing file is written into the image", "off"},
    {"werror", VIV_OPT_ENUM, "what a write error does", NULL, error_values},
    {"rerror", VIV_OPT_ENUM, "what a read error does", NULL, error_values},
    {"locking", VIV_OPT_ENUM, "lock the file against other users", "auto", viv_locking_values},
    {"aio", VIV_OPT_ENUM, "how requests reach the kernel (native: io_uring with O_DIRECT)", "threads", viv_aio_values},
    NODE_OPTS,
    {"stats-account-invalid", VIV_OPT_BOOL, "invalid requests count for when the disk was last used", "on"},
    {"stats-account-failed", VIV_OPT_BOOL, "failed requests do, and count for latencies", "on"},
    {"stats-intervals", VIV_OPT_LIST, "seconds of which query-blockstats tells latencies: stats-intervals.0=10,stats-intervals.1=60"},
    LIMIT_OPTS,
    DRIVE_REFUSED,
    VIV_OPT_END,
};

const struct viv_opt_def viv_node_common_opts[] = {
    {"driver", VIV_OPT_STR, "a format, a source or a filter"},
    NODE_OPTS,
    VIV_OPT_END,
};
