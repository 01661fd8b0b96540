/* The properties that all disks have. Read once, by viv_front_open(). */
#ifndef VIV_DEV_STORAGE_PROPS_H
#define VIV_DEV_STORAGE_PROPS_H

#include "base/err.h"
#include "opt/opt.h"

struct viv_front;

#define VIV_FRONT_PROPS                                                                                      \
    {.name = "drive", .type = VIV_OPT_STR, .help = "id of a -drive or -blockdev"},                          \
        {.name = "serial", .type = VIV_OPT_STR, .help = "serial number"},                                   \
        {.name = "bootindex", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX, .help = "place in the boot order"}, \
        {.name = "rerror", .type = VIV_OPT_ENUM, .def = "auto", .values = viv_front_rerrors,                \
         .help = "what to do when a read fails"},                                                           \
        {.name = "werror", .type = VIV_OPT_ENUM, .def = "auto", .values = viv_front_werrors,                \
         .help = "what to do when a write fails"},                                                          \
        {.name = "write-cache", .type = VIV_OPT_ENUM, .def = "auto", .values = viv_front_on_off_auto,       \
         .help = "off: each write is durable when it completes; auto: as the drive's cache= says"},                                           \
        {.name = "account-invalid", .type = VIV_OPT_ENUM, .def = "auto", .values = viv_front_on_off_auto,   \
         .help = "off: invalid requests do not count for when the disk was last used"},                    \
        {.name = "account-failed", .type = VIV_OPT_ENUM, .def = "auto", .values = viv_front_on_off_auto,    \
         .help = "off: failed requests do not, nor for latencies"},                                         \
        {.name = "share-rw", .type = VIV_OPT_BOOL,                                                          \
         .help = "others may write the image, too: other machines, or other devices on the node"},         \
        {.name = "logical_block_size", .type = VIV_OPT_SIZE, .def = "512", .min = 512, .max = 2097152,      \
         .help = "what the guest addresses"},                                                               \
        {.name = "physical_block_size", .type = VIV_OPT_SIZE, .def = "512", .min = 512, .max = 2097152,     \
         .help = "what it should write at once"},                                                           \
        {.name = "min_io_size", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "hint to the guest"},       \
        {.name = "opt_io_size", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "hint to the guest"},       \
    {                                                                                                        \
        .name = "discard_granularity", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "unit of discards"    \
    }
extern const char *const viv_front_rerrors[], *const viv_front_werrors[], *const viv_front_on_off_auto[];

/* Block sizes and hints, refused where they contradict themselves. */
int viv_front_take_geometry(struct viv_front *f, struct viv_opts *opts, struct viv_err *err);
/* Serial number, boot index, error policies, write cache, what is accounted: the drive's where the device does not say. */
void viv_front_take_rest(struct viv_front *f, struct viv_opts *opts);

#endif
