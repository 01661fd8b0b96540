/* The option tables. Reading them is open.c's. */
#include "block/options.h"

#include "block/proto/curl/curl.h"
#include "block/proto/nbd/nbd.h"

static const char *const discard_values[] = {"ignore", "off", "unmap", "on", NULL};
static const char *const zeroes_values[] = {"off", "on", "unmap", NULL};
static const char *const locking_values[] = {"auto", "on", "off", NULL};
static const char *const aio_values[] = {"threads", "native", "io_uring", NULL};
static const char *const cache_values[] = {"writeback",  "none",   "writethrough",
                                           "directsync", "unsafe", NULL};
static const char *const if_values[] = {"ide",    "scsi",   "sd",   "mtd", "floppy",
                                        "pflash", "virtio", "none", NULL};
static const char *const media_values[] = {"disk", "cdrom", NULL};
static const char *const file_values[] = {"file", NULL};
static const char *const error_values[] = {"report", "ignore", "enospc", "stop", NULL};

static const char *const encrypt_values[] = {"luks", "aes", NULL};

#define LATER "not implemented yet"

/* Of every node. */
#define NODE_OPTS(p)                                                                               \
    {p "driver", VIV_OPT_STR, "raw, qcow2, file, host_device, nbd, http, https, ftp, ftps or null-co"},  \
        {p "discard", VIV_OPT_ENUM, "unmap: discards of the guest free space in the image",        \
         "ignore", discard_values},                                                                \
        {p "detect-zeroes", VIV_OPT_ENUM, "turn writes of zeroes into holes", "off",               \
         zeroes_values},                                                                           \
        {p "cache.direct", VIV_OPT_BOOL, "bypass the host's page cache (O_DIRECT)"},               \
        {p "cache.no-flush", VIV_OPT_BOOL, "ignore flushes: a host crash loses the image"},        \
    {                                                                                              \
        p "force-share", VIV_OPT_BOOL, "open without locks although others may write (read-only)"  \
    }

/* Of host files. */
#define FILE_OPTS(p)                                                                               \
    {p "locking", VIV_OPT_ENUM, "lock the file against other users", "auto", locking_values},      \
        {p "aio", VIV_OPT_ENUM, "how requests reach the kernel (only threads so far)", "threads",  \
         aio_values},                                                                              \
        {p "pr-manager", VIV_OPT_REFUSED, LATER}, {p "drop-cache", VIV_OPT_REFUSED, LATER},        \
    {                                                                                              \
        p "aio-max-batch", VIV_OPT_REFUSED, LATER                                                  \
    }

/* What says which file. */
#define NAME_OPTS(p)                                                                               \
    {p "filename", VIV_OPT_STR, "the file or block device"},                                       \
    {                                                                                              \
        p "size", VIV_OPT_SIZE, "null-co: size of the disk"                                        \
    }

/* Of the file under an image. */
#define BELOW_OPTS                                                                                 \
    {"file.driver", VIV_OPT_STR, "file, host_device, nbd, http, https, ftp, ftps or null-co"},     \
        NAME_OPTS("file."), VIV_NBD_OPTS("file."), VIV_CURL_OPTS("file."),                         \
        FILE_OPTS("file."), {"file.cache.direct", VIV_OPT_BOOL, "as cache.direct"},                \
        {"file.cache.no-flush", VIV_OPT_BOOL, "as cache.no-flush"},                                \
    {                                                                                              \
        "file.force-share", VIV_OPT_BOOL, "as force-share"                                         \
    }

/* In place of the backing file that the image names. */
#define BACKING_OPTS                                                                               \
    {"backing", VIV_OPT_STR, "node-name of the backing image; empty: none"},                       \
        {"backing.driver", VIV_OPT_STR, "format of the backing image"},                            \
        {"backing.file.driver", VIV_OPT_ENUM, "only file", "file", file_values},                   \
        {"backing.key-secret", VIV_OPT_STR, "luks: id of the secret with its password"},           \
        {"backing.encrypt.key-secret", VIV_OPT_STR, "qcow2: id of the secret with its password"},  \
    {                                                                                              \
        "backing.file.filename", VIV_OPT_STR, "the backing image's file"                           \
    }

/* Of formats; the backing file itself is the user's list. */
#define FORMAT_OPTS(p)                                                                             \
    {p "lazy-refcounts", VIV_OPT_REFUSED,                                                          \
     "reference counts are always written in order, at no cost that this would save"},             \
        {p "pass-discard-request", VIV_OPT_REFUSED, LATER " (discard=unmap passes them on)"},      \
        {p "pass-discard-snapshot", VIV_OPT_REFUSED, LATER},                                       \
        {p "pass-discard-other", VIV_OPT_REFUSED, LATER},                                          \
        {p "overlap-check", VIV_OPT_REFUSED, "every write is checked against all metadata"},       \
        {p "cache-size", VIV_OPT_REFUSED, LATER}, {p "l2-cache-size", VIV_OPT_REFUSED, LATER},     \
        {p "l2-cache-entry-size", VIV_OPT_REFUSED, LATER},                                         \
        {p "refcount-cache-size", VIV_OPT_REFUSED, LATER},                                         \
        {p "cache-clean-interval", VIV_OPT_REFUSED, LATER},                                        \
        {p "key-secret", VIV_OPT_STR, "luks: id of the -object secret with the password"},         \
        {p "encrypt.format", VIV_OPT_ENUM, "qcow2: luks or aes, as the image is", NULL,            \
         encrypt_values},                                                                          \
        {p "encrypt.key-secret", VIV_OPT_STR, "qcow2: id of the -object secret with the password"},\
        {p "data-file", VIV_OPT_STR, "qcow2: node-name of the data file, not as the image says"},  \
    {                                                                                              \
        p "offset", VIV_OPT_REFUSED, LATER                                                         \
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
        {"trans", VIV_OPT_REFUSED, "give the geometry to -device"},                                \
        {"stats-account-invalid", VIV_OPT_REFUSED, LATER},                                         \
    {                                                                                              \
        "stats-account-failed", VIV_OPT_REFUSED, LATER                                             \
    }

const struct viv_opt_def viv_drive_opts[] = {
    {"file", VIV_OPT_STR, "the image: a file or a block device"},
    {"format", VIV_OPT_STR, "raw or qcow2; probed when absent"},
    {"if", VIV_OPT_ENUM, "interface; none: for a -device with drive=ID", NULL, if_values},
    {"id", VIV_OPT_STR, "name for -device drive=ID"},
    {"media", VIV_OPT_ENUM, "disk or cdrom", "disk", media_values},
    {"index", VIV_OPT_INT, "which of the interface's drives", .min = 0, .max = 255},
    {"bus", VIV_OPT_INT, "which bus of the interface", .min = 0, .max = 255},
    {"unit", VIV_OPT_INT, "which drive of the bus", .min = 0, .max = 255},
    {"serial", VIV_OPT_STR, "serial number the guest sees"},
    {"readonly", VIV_OPT_BOOL, "the guest may not write"},
    {"read-only", VIV_OPT_BOOL, "the guest may not write"},
    {"auto-read-only", VIV_OPT_BOOL, "open read-only when the file allows no more"},
    {"cache", VIV_OPT_ENUM,
     "host cache: writeback, none (O_DIRECT), writethrough, directsync, unsafe", "writeback",
     cache_values},
    {"cache.writeback", VIV_OPT_BOOL, "off: each write is durable when it completes"},
    {"snapshot", VIV_OPT_BOOL, "writes go to a temporary file and are lost at exit"},
    {"copy-on-read", VIV_OPT_BOOL, "what is read from the backing file is written into the image", "off"},
    {"werror", VIV_OPT_ENUM, "what a write error does", NULL, error_values},
    {"rerror", VIV_OPT_ENUM, "what a read error does", NULL, error_values},
    {"node-name", VIV_OPT_STR, "name by which others refer to this node"},
    NODE_OPTS(""),
    FILE_OPTS(""),
    FORMAT_OPTS(""),
    BELOW_OPTS,
    BACKING_OPTS,
    LIMIT_OPTS,
    DRIVE_REFUSED,
    VIV_OPT_END,
};

const struct viv_opt_def viv_blockdev_opts[] = {
    {"node-name", VIV_OPT_STR, "name by which others refer to this node"},
    {"file", VIV_OPT_STR, "node-name of the node below"},
    {"read-only", VIV_OPT_BOOL, "nobody may write"},
    {"auto-read-only", VIV_OPT_BOOL, "open read-only when the file allows no more"},
    NODE_OPTS(""),
    NAME_OPTS(""),
    VIV_NBD_OPTS(""),
    VIV_CURL_OPTS(""),
    FILE_OPTS(""),
    FORMAT_OPTS(""),
    BELOW_OPTS,
    {"file.node-name", VIV_OPT_STR, "name of the node below"},
    {"file.read-only", VIV_OPT_BOOL, "nobody may write"},
    {"file.auto-read-only", VIV_OPT_BOOL, "open read-only when the file allows no more"},
    {"file.discard", VIV_OPT_ENUM, "unmap: the file gets the discards that the image passes on",
     "ignore", discard_values},
    BACKING_OPTS,
    VIV_OPT_END,
};
