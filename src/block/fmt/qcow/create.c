/* New images: header and an empty L1 table. */
#include "block/crypt/crypt.h"
#include "block/fmt/qcow/qcow_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

const struct viv_opt_def qcow_create_opts[] = {
    {"backing_file", VIV_OPT_STR, "File name of a base image"},
    {"backing_fmt", VIV_OPT_STR, "Format of the backing image"},
    {"encrypt.format", VIV_OPT_STR, "Encrypt the image, format choices: 'aes'"},
    {"encrypt.key-secret", VIV_OPT_STR, "ID of the secret that provides the AES encryption key"},
    {"encryption", VIV_OPT_BOOL, "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    VIV_OPT_END,
};

const char *const qcow_create_shown[] = {"size",           "backing_file",       "backing_fmt", "encryption",
                                         "encrypt.format", "encrypt.key-secret", NULL};

/* With a backing file clusters of a sector, so that nothing is ever copied from it; else of 4 KiB. A table reaches 2 MiB either way. */
struct layout {
    unsigned cluster_bits, l2_bits;
    uint64_t size, l1_offset, end;
};

static int plan(const struct viv_create *c, struct layout *l, struct viv_err *err)
{
    size_t name = c->backing_file ? strlen(c->backing_file) : 0;
    uint64_t l1;

    l->cluster_bits = name ? 9 : 12;
    l->l2_bits = name ? 12 : 9;
    if (!viv_align_up_checked(c->size, 512, &l->size))
        return viv_fail(err, EFBIG, "Image size is too large (%" PRIu64 " bytes)", c->size);
    if (!l->size)
        return viv_fail(err, EINVAL, "Image size is too small, cannot be zero length");
    if (name > QCOW_BACKING_NAME_MAX)
        return viv_fail(err, EINVAL, "Backing file name too long: %zu bytes; at most %u fit", name, QCOW_BACKING_NAME_MAX);
    l1 = qcow_l1_entries(l->size, l->cluster_bits + l->l2_bits);
    if (l1 > QCOW_L1_ENTRIES_MAX)
        return viv_fail(err, EFBIG, "Image size is too large: a qcow disk has at most %" PRIu64 " bytes",
                        (uint64_t)QCOW_L1_ENTRIES_MAX << (l->cluster_bits + l->l2_bits));
    l->l1_offset = (QCOW_H_LENGTH + name + 7) & ~7ull;
    l->end = l->l1_offset + ((l1 * 8 + 511) & ~511ull);
    return 0;
}

static int read_encryption(const struct viv_create *c, bool *encrypted, struct viv_err *err)
{
    const char *format = NULL;
    int ret = viv_crypt_qcow_asked(c->opts, &format, err);

    if (!ret && format && strcmp(format, "aes") != 0)
        return viv_fail(err, EINVAL, "Unsupported encryption format '%s': qcow images have 'aes' alone", format);
    *encrypted = format != NULL;
    return ret;
}

static void make_header(const struct viv_create *c, const struct layout *l, bool encrypted, uint8_t *head)
{
    viv_st_be32(head + QCOW_H_MAGIC, QCOW_MAGIC);
    viv_st_be32(head + QCOW_H_VERSION, 1);
    viv_st_be64(head + QCOW_H_SIZE, l->size);
    head[QCOW_H_CLUSTER_BITS] = l->cluster_bits;
    head[QCOW_H_L2_BITS] = l->l2_bits;
    viv_st_be32(head + QCOW_H_CRYPT, encrypted);
    viv_st_be64(head + QCOW_H_L1_OFFSET, l->l1_offset);
    if (!c->backing_file)
        return;
    viv_st_be64(head + QCOW_H_BACKING_OFFSET, QCOW_H_LENGTH);
    viv_st_be32(head + QCOW_H_BACKING_SIZE, strlen(c->backing_file));
    memcpy(head + QCOW_H_LENGTH, c->backing_file, strlen(c->backing_file));
}

int qcow_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    uint8_t head[QCOW_H_LENGTH + QCOW_BACKING_NAME_MAX + 8] = {0};
    struct layout l = {0};
    bool encrypted = false;
    int ret = plan(c, &l, err);

    if (!ret)
        ret = read_encryption(c, &encrypted, err);
    if (!ret)
        ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = viv_node_truncate(file, l.end, VIV_PREALLOC_OFF, err);
    if (ret)
        return ret;
    make_header(c, &l, encrypted, head);
    ret = viv_node_write_zeroes(file, 0, l.end, VIV_BLK_UNMAP); /* a device holds anything; a long L1 need take no room */
    if (!ret)
        ret = viv_node_flush(file);
    if (!ret)
        ret = viv_node_pwrite(file, 0, head, l.l1_offset);
    if (!ret)
        ret = viv_node_flush(file);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}
