/* Encrypted images: LUKS (its header lies in clusters of its own, "Full disk encryption header pointer"; the number of a sector
 * is its place in the file that holds it) and the old AES (the number is the guest's). The core applies the crypt. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define CRYPT_BYTES_MAX (64u << 20) /* eight slots of 4 MiB and more */

const char *const qcow2_encrypt_values[] = {"aes", "luks", NULL};

static const char *format_name(unsigned crypt)
{
    return crypt == QCOW2_CRYPT_LUKS ? "luks" : crypt == QCOW2_CRYPT_AES ? "aes" : NULL;
}

/* --- opening --- */

int qcow2_read_crypt_extension(struct qcow2 *q, const uint8_t *data, uint32_t len, struct viv_err *err)
{
    const char *what = NULL;

    if (q->crypt != QCOW2_CRYPT_LUKS)
        what = "there is an encryption header, but no LUKS encryption";
    else if (len != 16)
        what = "the pointer to the encryption header is not 16 bytes long";
    else if (q->crypt_offset)
        what = "there are two encryption headers";
    if (what)
        return viv_fail(err, EINVAL, "'%s': invalid qcow2 image: %s", q->node->filename, what);
    q->crypt_offset = viv_ld_be64(data);
    q->crypt_length = viv_ld_be64(data + 8);
    if (!q->crypt_offset || !qcow2_table_ok(q, q->crypt_offset, q->crypt_length) || q->crypt_length > CRYPT_BYTES_MAX ||
        !viv_range_inside(q->crypt_offset, q->crypt_length, viv_node_size(q->file)))
        return viv_fail(err, EINVAL, "'%s': invalid qcow2 image: the encryption header lies at an impossible offset",
                        q->node->filename);
    return 0;
}

static int open_luks(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err)
{
    int ret;

    if (!q->crypt_offset)
        return viv_fail(err, EINVAL, "'%s': invalid qcow2 image: LUKS encryption without an encryption header",
                        q->node->filename);
    ret = viv_luks_open(q->file, q->crypt_offset, q->crypt_length, o->key_secret, o->no_data, &q->luks, err);
    return ret ? ret : viv_luks_crypt(q->luks, true, &q->node->crypt, err);
}

int qcow2_open_encryption(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err)
{
    if (!q->crypt)
        return 0;
    /* Preallocated clusters read as what the cipher makes of the file's zeroes. */
    for (uint32_t i = 0; i < q->l1.size && q->node->zero_init; i++)
        q->node->zero_init = !q->l1.entry[i];
    return q->crypt == QCOW2_CRYPT_LUKS ? open_luks(q, o, err)
                                        : viv_crypt_qcow_aes(o->key_secret, o->no_data, &q->node->crypt, err);
}

void qcow2_encrypt_info(const struct qcow2 *q, struct viv_img_info *i)
{
    if (!q->crypt)
        return;
    viv_img_fact_open(i, "encrypt", false);
    if (q->luks)
        viv_luks_info(q->luks, "luks", i);
    else
        viv_img_fact_str(i, "format", format_name(q->crypt));
    viv_img_fact_close(i);
}

/* --- new images --- */

static int refuse_luks_options(struct viv_opts *o, const char *why, struct viv_err *err)
{
    static const struct viv_opt_def luks[] = {VIV_LUKS_CREATE_OPTS("encrypt."), VIV_OPT_END};

    for (const struct viv_opt_def *d = luks; d->name; d++)
        if (viv_opts_given(o, d->name))
            return viv_fail(err, EINVAL, "Parameter '%s' is unexpected: %s", d->name, why);
    return 0;
}

int qcow2_read_encrypt_options(struct viv_opts *o, struct viv_qcow2_create *out, struct viv_err *err)
{
    const char *format = NULL;
    int ret = viv_crypt_qcow_asked(o, &format, err);

    if (ret)
        return ret;
    if (!format)
        return refuse_luks_options(o, "encrypt.format=luks is missing", err);
    if (out->data_file_raw)
        return viv_fail(err, EINVAL, "data_file_raw=on and encryption exclude each other: the data file would be no raw disk");
    if (strcmp(format, "luks") == 0) {
        out->crypt = QCOW2_CRYPT_LUKS;
        ret = viv_luks_read_spec(o, "encrypt.", &out->luks, err);
        return ret ? ret : viv_crypt_check_secret(out->luks.key_secret, err);
    }
    out->crypt = QCOW2_CRYPT_AES;
    return refuse_luks_options(o, "it is for encrypt.format=luks", err);
}

uint64_t qcow2_crypt_bytes(const struct viv_qcow2_create *c)
{
    return c->crypt == QCOW2_CRYPT_LUKS ? viv_luks_payload(&c->luks) : 0;
}

/* --- other keys --- */

int qcow2_amend_encryption(struct qcow2 *q, struct viv_opts *o, bool force, struct viv_err *err)
{
    static const struct viv_opt_def keys[] = {VIV_LUKS_AMEND_OPTS("encrypt."), VIV_OPT_END};
    bool any = false;

    for (const struct viv_opt_def *d = keys; d->name; d++)
        any = any || viv_opts_given(o, d->name);
    if (!any)
        return 0;
    if (!q->luks)
        return viv_fail(err, ENOTSUP, "'%s': only LUKS encryption has keys that can be changed; this image has %s",
                        q->node->filename, q->crypt ? "the old AES" : "none");
    return viv_luks_amend(q->luks, o, "encrypt.", force, err);
}
