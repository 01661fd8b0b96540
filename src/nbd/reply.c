#include "nbd/server_int.h"

#include <string.h>

static int send_message(struct viv_nbd_client *c, struct iovec *v, int cnt)
{
    int ret;

    pthread_mutex_lock(&c->write);
    ret = viv_nbd_chan_writev(c->chan, v, cnt);
    pthread_mutex_unlock(&c->write);
    return ret;
}

int viv_nbd_reply_simple(struct viv_nbd_client *c, const struct viv_nbd_request *r, int error, const void *data, size_t len)
{
    uint8_t head[VIV_NBD_SIMPLE_LEN];
    struct iovec v[2] = {{head, sizeof(head)}, {(void *)data, len}};

    viv_nbd_put_simple(head, error ? viv_nbd_error_from_errno(error) : 0, r->cookie);
    return send_message(c, v, len ? 2 : 1);
}

int viv_nbd_reply_chunk(struct viv_nbd_client *c, const struct viv_nbd_request *r, uint16_t type, bool last, const void *head,
                        size_t head_len, const void *data, size_t len)
{
    uint8_t b[VIV_NBD_CHUNK_LEN + 16];
    struct iovec v[2] = {{b, VIV_NBD_CHUNK_LEN + head_len}, {(void *)data, len}};

    viv_nbd_put_chunk(b, last ? VIV_NBD_CHUNK_DONE : 0, type, r->cookie, head_len + len);
    if (head_len)
        memcpy(b + VIV_NBD_CHUNK_LEN, head, head_len);
    return send_message(c, v, len ? 2 : 1);
}

static int reply_error(struct viv_nbd_client *c, const struct viv_nbd_request *r, int error)
{
    const char *text = strerror(error);
    size_t len = strlen(text);
    uint8_t head[6];

    viv_st_be32(head, viv_nbd_error_from_errno(error));
    viv_st_be16(head + 4, len);
    return viv_nbd_reply_chunk(c, r, VIV_NBD_CHUNK_ERR, true, head, sizeof(head), text, len);
}

int viv_nbd_reply_result(struct viv_nbd_client *c, const struct viv_nbd_request *r, int error)
{
    if (!c->structured)
        return viv_nbd_reply_simple(c, r, error, NULL, 0);
    if (error)
        return reply_error(c, r, error);
    if (r->type == VIV_NBD_CMD_READ || r->type == VIV_NBD_CMD_BLOCK_STATUS)
        return viv_nbd_reply_chunk(c, r, VIV_NBD_CHUNK_NONE, true, NULL, 0, NULL, 0);
    return viv_nbd_reply_simple(c, r, 0, NULL, 0);
}
