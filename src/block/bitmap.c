/* Dirty bitmaps; see bitmap.h. Bits lie as images store them, so loading and storing copies bytes. */
#include "block/bitmap.h"

#include "base/checked.h"
#include "block/image.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

size_t viv_bitmap_bytes(uint64_t size, uint32_t granularity)
{
    uint64_t granules = size / granularity + (size % granularity != 0);
    uint64_t bytes = granules / 8 + (granules % 8 != 0);

    return bytes > VIV_BITMAP_BYTES_MAX ? 0 : MAX(bytes, 1);
}

static uint64_t granules(const struct viv_bitmap *b)
{
    return b->size / b->granularity + (b->size % b->granularity != 0);
}

struct viv_bitmap *viv_bitmap_find(struct viv_node *n, const char *name)
{
    struct viv_bitmap *b;

    pthread_mutex_lock(&n->bitmap_lock);
    for (b = n->bitmaps; b; b = b->next)
        if (b->name && strcmp(b->name, name) == 0)
            break;
    pthread_mutex_unlock(&n->bitmap_lock);
    return b;
}

int viv_bitmap_new(struct viv_node *n, const char *name, uint32_t granularity, struct viv_bitmap **out,
                   struct viv_err *err)
{
    struct viv_bitmap *b;
    size_t bytes;

    if (granularity < VIV_BITMAP_GRANULARITY_MIN || granularity > VIV_BITMAP_GRANULARITY_MAX ||
        (granularity & (granularity - 1)))
        return viv_fail(err, EINVAL, "a bitmap's granularity is a power of two from 512 to 2G, not %u", granularity);
    if (name && viv_bitmap_find(n, name))
        return viv_fail(err, EEXIST, "'%s' has a bitmap '%s' already", n->filename, name);
    bytes = viv_bitmap_bytes(viv_node_size(n), granularity);
    if (!bytes)
        return viv_fail(err, EFBIG, "a bitmap of '%s' with a granularity of %u bytes would need more than 512 MiB; a "
                                    "larger granularity needs less",
                        n->filename, granularity);
    b = g_new0(struct viv_bitmap, 1);
    *b = (struct viv_bitmap){.name = g_strdup(name),
                             .granularity = granularity,
                             .size = viv_node_size(n),
                             .bytes = bytes,
                             .bits = g_try_malloc0(bytes),
                             .enabled = true,
                             .node = n};
    if (!b->bits) {
        g_free(b->name);
        g_free(b);
        return viv_fail(err, ENOMEM, "no memory for a bitmap of %zu bytes", bytes);
    }
    pthread_mutex_lock(&n->bitmap_lock);
    b->next = n->bitmaps;
    __atomic_store_n(&n->bitmaps, b, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&n->bitmap_lock);
    *out = b;
    return 0;
}

uint32_t viv_bitmap_default_granularity(struct viv_node *n)
{
    struct viv_img_info info = {0};
    uint64_t cluster;

    if (n->drv->info)
        n->drv->info(n, &info);
    cluster = info.cluster_size;
    viv_img_info_free(&info);
    return cluster ? CLAMP(cluster, 4096, 65536) : 65536;
}

void viv_bitmap_free(struct viv_bitmap *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->node->bitmap_lock);
    for (struct viv_bitmap **p = &b->node->bitmaps; *p; p = &(*p)->next) {
        if (*p == b) {
            __atomic_store_n(p, b->next, __ATOMIC_RELEASE);
            break;
        }
    }
    pthread_mutex_unlock(&b->node->bitmap_lock);
    g_free(b->name);
    g_free(b->bits);
    g_free(b);
}

void viv_bitmaps_free(struct viv_node *n)
{
    while (n->bitmaps)
        viv_bitmap_free(n->bitmaps);
}

void viv_bitmap_enable(struct viv_bitmap *b, bool on)
{
    pthread_mutex_lock(&b->node->bitmap_lock);
    b->enabled = on;
    pthread_mutex_unlock(&b->node->bitmap_lock);
}

/* --- bits; the lock is held --- */

static bool test(const struct viv_bitmap *b, uint64_t i)
{
    return b->bits[i / 8] >> (i % 8) & 1;
}

/* Granules [first, end). */
static void set_granules(struct viv_bitmap *b, uint64_t first, uint64_t end, bool on)
{
    for (; first < end && first % 8; first++)
        b->bits[first / 8] = on ? b->bits[first / 8] | 1u << first % 8 : b->bits[first / 8] & ~(1u << first % 8);
    if (first < end) {
        memset(b->bits + first / 8, on ? 0xff : 0, (end - first) / 8);
        first += (end - first) & ~7ull;
    }
    for (; first < end; first++)
        b->bits[first / 8] = on ? b->bits[first / 8] | 1u << first % 8 : b->bits[first / 8] & ~(1u << first % 8);
    b->changed = true;
}

static void mark(struct viv_bitmap *b, uint64_t offset, uint64_t len)
{
    if (offset < b->size && len)
        set_granules(b, offset / b->granularity, (offset + MIN(len, b->size - offset) - 1) / b->granularity + 1, true);
}

/* The first granule from `i` on that is `dirty` or not; granules(b): none. */
static uint64_t find(const struct viv_bitmap *b, uint64_t i, bool dirty)
{
    uint8_t skip = dirty ? 0 : 0xff;
    uint64_t end = granules(b);

    while (i < end) {
        if (i % 8 == 0 && b->bits[i / 8] == skip)
            i += 8;
        else if (test(b, i) == dirty)
            return i;
        else
            i++;
    }
    return end;
}

/* --- the same, locked --- */

void viv_bitmap_mark(struct viv_bitmap *b, uint64_t offset, uint64_t len)
{
    pthread_mutex_lock(&b->node->bitmap_lock);
    mark(b, offset, len);
    pthread_mutex_unlock(&b->node->bitmap_lock);
}

void viv_bitmap_clear(struct viv_bitmap *b, uint64_t offset, uint64_t len)
{
    uint64_t first, end;

    pthread_mutex_lock(&b->node->bitmap_lock);
    if (offset < b->size && len) {
        len = MIN(len, b->size - offset);
        first = offset / b->granularity + (offset % b->granularity != 0);
        end = offset + len == b->size ? granules(b) : (offset + len) / b->granularity;
        if (first < end)
            set_granules(b, first, end, false);
    }
    pthread_mutex_unlock(&b->node->bitmap_lock);
}

bool viv_bitmap_next(struct viv_bitmap *b, uint64_t from, uint64_t *offset, uint64_t *len)
{
    uint64_t first, end;
    bool found;

    pthread_mutex_lock(&b->node->bitmap_lock);
    first = find(b, from / b->granularity, true);
    end = find(b, first, false);
    found = from < b->size && first < granules(b);
    if (found) {
        *offset = MAX(from, first * b->granularity);
        *len = MIN(end * b->granularity, b->size) - *offset;
    }
    pthread_mutex_unlock(&b->node->bitmap_lock);
    return found;
}

uint64_t viv_bitmap_count(struct viv_bitmap *b)
{
    uint64_t offset, len, at = 0, sum = 0;

    while (viv_bitmap_next(b, at, &offset, &len)) {
        sum += len;
        at = offset + len;
    }
    return sum;
}

int viv_bitmap_merge(struct viv_bitmap *to, struct viv_bitmap *from, struct viv_err *err)
{
    uint64_t offset, len, at = 0;

    if (to->size != from->size)
        return viv_fail(err, EINVAL, "bitmap '%s' is of a disk of %" PRIu64 " bytes, '%s' of one of %" PRIu64,
                        from->name ? from->name : "", from->size, to->name ? to->name : "", to->size);
    while (viv_bitmap_next(from, at, &offset, &len)) {
        viv_bitmap_mark(to, offset, len);
        at = offset + len;
    }
    return 0;
}

void viv_bitmap_set_bits(struct viv_bitmap *b, const uint8_t *bits, size_t bytes)
{
    uint64_t end;

    pthread_mutex_lock(&b->node->bitmap_lock);
    memset(b->bits, 0, b->bytes);
    if (bits)
        memcpy(b->bits, bits, MIN(bytes, b->bytes));
    end = granules(b); /* what an image says behind the disk's end is not believed */
    if (end < b->bytes * 8)
        set_granules(b, end, b->bytes * 8, false);
    b->changed = true;
    pthread_mutex_unlock(&b->node->bitmap_lock);
}

uint8_t *viv_bitmap_copy_bits(struct viv_bitmap *b)
{
    uint8_t *copy = g_try_malloc(b->bytes);

    pthread_mutex_lock(&b->node->bitmap_lock);
    if (copy)
        memcpy(copy, b->bits, b->bytes);
    pthread_mutex_unlock(&b->node->bitmap_lock);
    return copy;
}

/* --- from the core --- */

void viv_bitmaps_note(struct viv_node *n, uint64_t offset, uint64_t len)
{
    pthread_mutex_lock(&n->bitmap_lock);
    for (struct viv_bitmap *b = n->bitmaps; b; b = b->next)
        if (b->enabled)
            mark(b, offset, len);
    pthread_mutex_unlock(&n->bitmap_lock);
}

/* What is new of a larger disk is clean, as nobody wrote it. */
static int resize_one(struct viv_bitmap *b, uint64_t size)
{
    size_t bytes = viv_bitmap_bytes(size, b->granularity);
    uint8_t *bits;
    uint64_t end;

    if (!bytes)
        return -EFBIG;
    bits = g_try_realloc(b->bits, bytes);
    if (!bits)
        return -ENOMEM;
    if (bytes > b->bytes)
        memset(bits + b->bytes, 0, bytes - b->bytes);
    b->bits = bits;
    b->bytes = bytes;
    b->size = size;
    b->changed = true;
    end = granules(b);
    if (end < bytes * 8)
        set_granules(b, end, bytes * 8, false);
    return 0;
}

int viv_bitmaps_resize(struct viv_node *n, uint64_t size)
{
    int ret = 0;

    pthread_mutex_lock(&n->bitmap_lock);
    for (struct viv_bitmap *b = n->bitmaps; b && !ret; b = b->next)
        if (b->size != size)
            ret = resize_one(b, size);
    pthread_mutex_unlock(&n->bitmap_lock);
    return ret;
}
