/* Encrypted data between the caller's buffers and a child, through a bounded bounce buffer. */
#include "block/crypt/crypt.h"

#include "block/iov.h"
#include "block/node.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>

#define CHUNK (256u << 10)

/* The units that hold [offset, offset + step): where they start, how long they are. */
struct span {
    uint64_t offset, host;
    size_t lead, len;
};

static struct span span_of(const struct viv_crypt *c, uint64_t offset, uint64_t host, size_t step)
{
    size_t lead = offset & (c->unit - 1);

    return (struct span){offset - lead, host - lead, lead, viv_align_down(lead + step + c->unit - 1, c->unit)};
}

static int load(struct viv_crypt *c, struct viv_node *child, const struct span *s, uint8_t *buf)
{
    int ret = viv_node_pread(child, s->host, buf, s->len);

    return ret ? ret : c->run(c, false, c->by_host ? s->host : s->offset, buf, s->len);
}

static int store(struct viv_crypt *c, struct viv_node *child, const struct span *s, uint8_t *buf)
{
    int ret = c->run(c, true, c->by_host ? s->host : s->offset, buf, s->len);

    return ret ? ret : viv_node_pwrite(child, s->host, buf, s->len);
}

static int move(struct viv_crypt *c, struct viv_node *child, bool write, uint64_t offset, uint64_t host,
                const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    size_t room = MIN(CHUNK, len + 2 * (size_t)c->unit);
    uint8_t *buf = g_try_malloc(room);
    int ret = buf ? 0 : -ENOMEM;

    while (len && !ret) {
        size_t step = MIN(len, viv_align_down(room, c->unit) - (offset & (c->unit - 1)));
        struct span s = span_of(c, offset, host, step);

        if (!write || s.len != step)
            ret = load(c, child, &s, buf);
        if (!ret && write) {
            viv_iov_take(iov, cnt, skip, buf + s.lead, step);
            ret = store(c, child, &s, buf);
        } else if (!ret) {
            viv_iov_put(iov, cnt, skip, buf + s.lead, step);
        }
        offset += step;
        host += step;
        skip += step;
        len -= step;
    }
    g_free(buf);
    return ret;
}

int viv_crypt_read(struct viv_crypt *c, struct viv_node *child, uint64_t offset, uint64_t host, const struct iovec *iov,
                   int cnt, size_t skip, size_t len)
{
    return move(c, child, false, offset, host, iov, cnt, skip, len);
}

int viv_crypt_write(struct viv_crypt *c, struct viv_node *child, uint64_t offset, uint64_t host, const struct iovec *iov,
                    int cnt, size_t skip, size_t len)
{
    return move(c, child, true, offset, host, iov, cnt, skip, len);
}
