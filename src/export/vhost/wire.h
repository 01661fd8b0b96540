/* The vhost-user protocol (docs/interop/vhost-user of its specification): messages between a front end (the virtual machine) and
 * us, the back end. Host byte order. */
#ifndef VIV_EXPORT_VHOST_WIRE_H
#define VIV_EXPORT_VHOST_WIRE_H

#include <stdint.h>

enum {
    VHOST_GET_FEATURES = 1,
    VHOST_SET_FEATURES = 2,
    VHOST_SET_OWNER = 3,
    VHOST_RESET_OWNER = 4,
    VHOST_SET_MEM_TABLE = 5,
    VHOST_SET_VRING_NUM = 8,
    VHOST_SET_VRING_ADDR = 9,
    VHOST_SET_VRING_BASE = 10,
    VHOST_GET_VRING_BASE = 11,
    VHOST_SET_VRING_KICK = 12,
    VHOST_SET_VRING_CALL = 13,
    VHOST_SET_VRING_ERR = 14,
    VHOST_GET_PROTOCOL_FEATURES = 15,
    VHOST_SET_PROTOCOL_FEATURES = 16,
    VHOST_GET_QUEUE_NUM = 17,
    VHOST_SET_VRING_ENABLE = 18,
    VHOST_SET_BACKEND_REQ_FD = 21,
    VHOST_GET_CONFIG = 24,
    VHOST_SET_CONFIG = 25,
    VHOST_GET_INFLIGHT_FD = 31,
    VHOST_SET_INFLIGHT_FD = 32,
};

/* What we send, on a socket of its own. */
enum { VHOST_BACKEND_CONFIG_CHANGE = 2 };

#define VHOST_VERSION      1u
#define VHOST_VERSION_MASK 3u
#define VHOST_FLAG_REPLY   (1u << 2)
#define VHOST_FLAG_NEED    (1u << 3) /* wants an answer, if REPLY_ACK was agreed on */

#define VHOST_F_PROTOCOL_FEATURES (1ull << 30)
#define VHOST_PROTOCOL_MQ         (1ull << 0)
#define VHOST_PROTOCOL_REPLY_ACK  (1ull << 3)
#define VHOST_PROTOCOL_BACKEND_REQ (1ull << 5)
#define VHOST_PROTOCOL_CONFIG     (1ull << 9)
#define VHOST_PROTOCOL_INFLIGHT   (1ull << 12)

#define VHOST_FDS_MAX     8 /* in one message */
#define VHOST_REGIONS_MAX 8
#define VHOST_CONFIG_MAX  256
#define VHOST_PAYLOAD_MAX 512 /* of any message we know */

#define VHOST_VRING_INDEX 0xffu
#define VHOST_VRING_NO_FD (1u << 8)

struct vhost_header {
    uint32_t request, flags, size;
};

struct vhost_region {
    uint64_t guest_addr, size, user_addr, mmap_offset;
};

struct vhost_mem_table {
    uint32_t count, padding;
    struct vhost_region region[VHOST_REGIONS_MAX];
};

struct vhost_vring_state {
    uint32_t index, num;
};

struct vhost_vring_addr {
    uint32_t index, flags;
    uint64_t desc, used, avail, log;
};

struct vhost_config {
    uint32_t offset, size, flags;
    uint8_t data[VHOST_CONFIG_MAX];
};

struct vhost_inflight {
    uint64_t size, offset;
    uint16_t queues, num;
} __attribute__((packed));

struct vhost_msg {
    struct vhost_header h;
    union {
        uint64_t u64;
        struct vhost_mem_table mem;
        struct vhost_vring_state state;
        struct vhost_vring_addr addr;
        struct vhost_config config;
        struct vhost_inflight inflight;
        uint8_t bytes[VHOST_PAYLOAD_MAX];
    } p;
    int fds[VHOST_FDS_MAX];
    unsigned fd_count;
    int answer_fd; /* goes with the answer; -1: none */
};

#endif
