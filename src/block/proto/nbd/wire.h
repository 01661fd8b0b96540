/* The NBD protocol's numbers and fixed messages, for client and server (doc/proto.md of the NBD project). All big-endian. */
#ifndef VIV_BLOCK_PROTO_NBD_WIRE_H
#define VIV_BLOCK_PROTO_NBD_WIRE_H

#include "base/bytes.h"

#include <errno.h>
#include <stdint.h>

#define VIV_NBD_PORT "10809"

#define VIV_NBD_INIT_MAGIC       0x4e42444d41474943ull /* "NBDMAGIC" */
#define VIV_NBD_OPTS_MAGIC       0x49484156454f5054ull /* "IHAVEOPT" */
#define VIV_NBD_OLD_MAGIC        0x0000420281861253ull
#define VIV_NBD_REP_MAGIC        0x0003e889045565a9ull
#define VIV_NBD_REQUEST_MAGIC    0x25609513u
#define VIV_NBD_SIMPLE_MAGIC     0x67446698u
#define VIV_NBD_STRUCTURED_MAGIC 0x668e33efu

#define VIV_NBD_MAX_STRING  4096u
#define VIV_NBD_MAX_PAYLOAD (32u << 20) /* what every peer takes ("Size constraints") */

/* Handshake and client flags. */
enum {
    VIV_NBD_HS_FIXED = 1 << 0,
    VIV_NBD_HS_NO_ZEROES = 1 << 1,
};

/* Transmission flags. */
enum {
    VIV_NBD_HAS_FLAGS = 1 << 0,
    VIV_NBD_READ_ONLY = 1 << 1,
    VIV_NBD_SEND_FLUSH = 1 << 2,
    VIV_NBD_SEND_FUA = 1 << 3,
    VIV_NBD_ROTATIONAL = 1 << 4,
    VIV_NBD_SEND_TRIM = 1 << 5,
    VIV_NBD_SEND_WRITE_ZEROES = 1 << 6,
    VIV_NBD_SEND_DF = 1 << 7,
    VIV_NBD_MULTI_CONN = 1 << 8,
    VIV_NBD_SEND_RESIZE = 1 << 9,
    VIV_NBD_SEND_CACHE = 1 << 10,
    VIV_NBD_SEND_FAST_ZERO = 1 << 11,
};

enum {
    VIV_NBD_OPT_EXPORT_NAME = 1,
    VIV_NBD_OPT_ABORT = 2,
    VIV_NBD_OPT_LIST = 3,
    VIV_NBD_OPT_STARTTLS = 5,
    VIV_NBD_OPT_INFO = 6,
    VIV_NBD_OPT_GO = 7,
    VIV_NBD_OPT_STRUCTURED_REPLY = 8,
    VIV_NBD_OPT_LIST_META_CONTEXT = 9,
    VIV_NBD_OPT_SET_META_CONTEXT = 10,
};

#define VIV_NBD_REP_ERROR (1u << 31)
enum viv_nbd_rep {
    VIV_NBD_REP_ACK = 1,
    VIV_NBD_REP_SERVER = 2,
    VIV_NBD_REP_INFO = 3,
    VIV_NBD_REP_META_CONTEXT = 4,
};
#define VIV_NBD_REP_ERR_UNSUP           (VIV_NBD_REP_ERROR + 1)
#define VIV_NBD_REP_ERR_POLICY          (VIV_NBD_REP_ERROR + 2)
#define VIV_NBD_REP_ERR_INVALID         (VIV_NBD_REP_ERROR + 3)
#define VIV_NBD_REP_ERR_PLATFORM        (VIV_NBD_REP_ERROR + 4)
#define VIV_NBD_REP_ERR_TLS_REQD        (VIV_NBD_REP_ERROR + 5)
#define VIV_NBD_REP_ERR_UNKNOWN         (VIV_NBD_REP_ERROR + 6)
#define VIV_NBD_REP_ERR_SHUTDOWN        (VIV_NBD_REP_ERROR + 7)
#define VIV_NBD_REP_ERR_BLOCK_SIZE_REQD (VIV_NBD_REP_ERROR + 8)
#define VIV_NBD_REP_ERR_TOO_BIG         (VIV_NBD_REP_ERROR + 9)

enum {
    VIV_NBD_INFO_EXPORT = 0,
    VIV_NBD_INFO_NAME = 1,
    VIV_NBD_INFO_DESCRIPTION = 2,
    VIV_NBD_INFO_BLOCK_SIZE = 3,
};

enum viv_nbd_cmd {
    VIV_NBD_CMD_READ = 0,
    VIV_NBD_CMD_WRITE = 1,
    VIV_NBD_CMD_DISC = 2,
    VIV_NBD_CMD_FLUSH = 3,
    VIV_NBD_CMD_TRIM = 4,
    VIV_NBD_CMD_CACHE = 5,
    VIV_NBD_CMD_WRITE_ZEROES = 6,
    VIV_NBD_CMD_BLOCK_STATUS = 7,
};

enum {
    VIV_NBD_CMD_FLAG_FUA = 1 << 0,
    VIV_NBD_CMD_FLAG_NO_HOLE = 1 << 1,
    VIV_NBD_CMD_FLAG_DF = 1 << 2,
    VIV_NBD_CMD_FLAG_REQ_ONE = 1 << 3,
    VIV_NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
};

/* Structured reply chunks. */
#define VIV_NBD_CHUNK_DONE  (1u << 0) /* flag */
#define VIV_NBD_CHUNK_ERROR (1u << 15)
enum {
    VIV_NBD_CHUNK_NONE = 0,
    VIV_NBD_CHUNK_OFFSET_DATA = 1,
    VIV_NBD_CHUNK_OFFSET_HOLE = 2,
    VIV_NBD_CHUNK_BLOCK_STATUS = 5,
    VIV_NBD_CHUNK_ERR = VIV_NBD_CHUNK_ERROR + 1,
    VIV_NBD_CHUNK_ERR_OFFSET = VIV_NBD_CHUNK_ERROR + 2,
};

/* base:allocation */
enum {
    VIV_NBD_STATE_HOLE = 1 << 0,
    VIV_NBD_STATE_ZERO = 1 << 1,
};

#define VIV_NBD_REQUEST_LEN 28
#define VIV_NBD_SIMPLE_LEN  16
#define VIV_NBD_CHUNK_LEN   20

struct viv_nbd_request {
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t len;
};

static inline void viv_nbd_put_request(uint8_t *p, const struct viv_nbd_request *r)
{
    viv_st_be32(p, VIV_NBD_REQUEST_MAGIC);
    viv_st_be16(p + 4, r->flags);
    viv_st_be16(p + 6, r->type);
    viv_st_be64(p + 8, r->cookie);
    viv_st_be64(p + 16, r->offset);
    viv_st_be32(p + 24, r->len);
}

static inline int viv_nbd_get_request(const uint8_t *p, struct viv_nbd_request *r)
{
    r->flags = viv_ld_be16(p + 4);
    r->type = viv_ld_be16(p + 6);
    r->cookie = viv_ld_be64(p + 8);
    r->offset = viv_ld_be64(p + 16);
    r->len = viv_ld_be32(p + 24);
    return viv_ld_be32(p) == VIV_NBD_REQUEST_MAGIC ? 0 : -EPROTO;
}

static inline void viv_nbd_put_simple(uint8_t *p, uint32_t error, uint64_t cookie)
{
    viv_st_be32(p, VIV_NBD_SIMPLE_MAGIC);
    viv_st_be32(p + 4, error);
    viv_st_be64(p + 8, cookie);
}

static inline void viv_nbd_put_chunk(uint8_t *p, uint16_t flags, uint16_t type, uint64_t cookie, uint32_t len)
{
    viv_st_be32(p, VIV_NBD_STRUCTURED_MAGIC);
    viv_st_be16(p + 4, flags);
    viv_st_be16(p + 6, type);
    viv_st_be64(p + 8, cookie);
    viv_st_be32(p + 16, len);
}

/* "Error values": the protocol's are these errnos of Linux, and no others. */
static inline int viv_nbd_error_to_errno(uint32_t error)
{
    switch (error) {
    case EPERM:
    case EIO:
    case ENOMEM:
    case ENOSPC:
    case EOVERFLOW:
    case ENOTSUP:
    case ESHUTDOWN:
        return error;
    default:
        return EINVAL;
    }
}

static inline uint32_t viv_nbd_error_from_errno(int e)
{
    switch (e) {
    case EPERM:
    case EROFS:
    case EACCES:
        return EPERM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ENOSPC;
    case ENOMEM:
    case EINVAL:
    case EOVERFLOW:
    case ENOTSUP:
    case ESHUTDOWN:
        return e;
    default:
        return EIO;
    }
}

#endif
