/* luks: the disk lies in one piece behind the header, encrypted sector by sector. The core applies the crypt; header and keys
 * are block/crypt/luks.h's. A range that nobody wrote reads as what the cipher makes of it, so nothing is known to be zero. */
#include "block/fmt/luks/luks.h"

#include "block/crypt/luks.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

struct luks {
    struct viv_luks *header;
    uint64_t payload; /* bytes: where the disk starts in the file */
};

/* Any version: version 2 is refused when it is opened, and must not pass for a raw disk. */
static int probe(const uint8_t *head, size_t len)
{
    return len >= 8 && memcmp(head, VIV_LUKS_MAGIC, 6) == 0 ? 100 : 0;
}

static int close_image(struct viv_node *n)
{
    struct luks *l = n->state;

    viv_luks_free(l->header);
    g_free(l);
    n->state = NULL;
    return 0;
}

static int check_payload(struct viv_node *n, uint64_t payload, struct viv_err *err)
{
    uint64_t file = viv_node_size(n->file);

    if (!payload)
        return viv_fail(err, ENOTSUP,
                        "'%s' is a detached LUKS header: its data lies in another file, which is not supported; images with "
                        "header and data in one file are",
                        n->filename);
    if (payload > file)
        return viv_fail(err, EINVAL,
                        "'%s': the image is truncated: its data begins at byte %" PRIu64 ", the file has %" PRIu64, n->filename,
                        payload, file);
    return 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct luks *l = g_new0(struct luks, 1);
    int ret;

    n->state = l;
    ret = viv_luks_open(n->file, 0, viv_node_size(n->file), o->key_secret, o->no_data, &l->header, err);
    if (!ret) {
        l->payload = viv_luks_payload_offset(l->header);
        ret = check_payload(n, l->payload, err);
    }
    if (!ret)
        ret = viv_luks_crypt(l->header, false, &n->crypt, err);
    if (ret) {
        close_image(n);
        return ret;
    }
    n->size = viv_align_down(viv_node_size(n->file) - l->payload, VIV_CIPHER_UNIT);
    n->granule = VIV_CIPHER_UNIT;
    return 0;
}

static int map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    const struct luks *l = n->state;

    *out = (struct viv_extent){
        .kind = VIV_MAP_DATA, .len = len, .host = l->payload + offset, .allocated = true, .in_place = !n->read_only};
    return 0;
}

static int alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    const struct luks *l = n->state;

    *out = (struct viv_alloc){.offset = offset, .len = len, .host = l->payload + offset};
    return 0;
}

static int resize(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err)
{
    const struct luks *l = n->state;
    uint64_t whole;
    int ret;

    if (!viv_align_up_checked(size, VIV_CIPHER_UNIT, &size) || !viv_add_u64(size, l->payload, &whole) || whole > INT64_MAX)
        return viv_fail(err, EFBIG, "'%s': %" PRIu64 " bytes are too large", n->filename, size);
    ret = viv_node_truncate(n->file, whole, prealloc, err);
    if (!ret)
        __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
    return ret;
}

/* --- tools --- */

static const char *const prealloc_values[] = {"off", "falloc", "full", NULL};

static const struct viv_opt_def create_opts[] = {
    VIV_LUKS_CREATE_OPTS(""),
    {"key-secret", VIV_OPT_STR, "ID of the secret that provides the keyslot passphrase"},
    {"preallocation", VIV_OPT_ENUM, "Preallocation mode", NULL, prealloc_values},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    VIV_OPT_END,
};

static const char *const create_shown[] = {"size",      "key-secret",     "cipher-alg", "cipher-mode", "ivgen-alg",
                                           "ivgen-hash-alg", "hash-alg", "iter-time", "preallocation", NULL};

static const struct viv_opt_def amend_opts[] = {VIV_LUKS_AMEND_OPTS(""), VIV_OPT_END};

/* Nothing is touched before all that can be refused has been. Size and header in this order: on a device, what was there before stays what it is until the header is. */
static int create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    struct viv_luks_spec s;
    uint64_t whole;
    int ret = viv_luks_read_spec(c->opts, "", &s, err);

    if (ret)
        return ret;
    if (!viv_add_u64(c->size, viv_luks_payload(&s), &whole) || whole > INT64_MAX)
        return viv_fail(err, EFBIG, "%" PRIu64 " bytes are too large for a LUKS image", c->size);
    ret = viv_crypt_check_secret(s.key_secret, err);
    if (!ret)
        ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = viv_node_truncate(file, whole, c->prealloc, err);
    return ret ? ret : viv_luks_create(&s, file, 0, err);
}

static int measure(const struct viv_create *c, struct viv_node *source, struct viv_measure *out, struct viv_err *err)
{
    struct viv_luks_spec s;
    int ret = viv_luks_read_spec(c->opts, "", &s, err);

    if (!ret)
        out->required = out->full = viv_luks_payload(&s) + viv_align_down(c->size + 511, 512);
    return ret;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    const struct luks *l = n->state;

    i->encrypted = true;
    viv_luks_info(l->header, NULL, i);
}

static int amend(struct viv_node *n, struct viv_opts *opts, bool force, struct viv_err *err)
{
    struct luks *l = n->state;

    return viv_luks_amend(l->header, opts, "", force, err);
}

static const struct viv_opt_def open_opts[] = {
    {"key-secret", VIV_OPT_STR, "id of the -object secret with the password"},
    VIV_OPT_END,
};

const struct viv_blk_driver viv_blk_luks = {
    .name = "luks",
    .probe = probe,
    .open_opts = open_opts,
    .open = open_image,
    .close = close_image,
    .map = map,
    .alloc = alloc,
    .truncate = resize,
    .create = create,
    .create_opts = create_opts,
    .create_shown = create_shown,
    .measure = measure,
    .info = info,
    .amend = amend,
    .amend_opts = amend_opts,
};
