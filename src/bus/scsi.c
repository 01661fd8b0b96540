/* The life of a SCSI command between adapter and target, addresses, and what is answered for units that are not there. */
#include "bus/scsi.h"

#include "base/bytes.h"
#include "bus/bootorder.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

enum { REQUEST_SENSE = 0x03, INQUIRY = 0x12, REPORT_LUNS = 0xa0 };

struct viv_scsi_bus {
    struct viv_dev *adapter;
    char *name;
    const struct viv_scsi_bus_ops *ops;
    struct viv_scsi_dev *devs;
    struct viv_scsi_bus *next;
};

static struct viv_scsi_bus *buses; /* those with names; in creation order */

/* ---- buses and addresses ---- */

struct viv_scsi_bus *viv_scsi_bus_new(struct viv_dev *adapter, const char *name, const struct viv_scsi_bus_ops *ops)
{
    struct viv_scsi_bus *b = g_new0(struct viv_scsi_bus, 1), **end = &buses;

    b->adapter = adapter;
    b->name = g_strdup(name);
    b->ops = ops;
    if (!name)
        return b;
    while (*end)
        end = &(*end)->next;
    *end = b;
    return b;
}

void viv_scsi_bus_free(struct viv_scsi_bus *b)
{
    if (!b)
        return;
    for (struct viv_scsi_bus **p = &buses; *p; p = &(*p)->next) {
        if (*p == b) {
            *p = b->next;
            break;
        }
    }
    for (struct viv_scsi_dev *d = b->devs; d; d = d->next)
        d->bus = NULL; /* those that were pulled out have gone: an adapter waits for them */
    g_free(b->name);
    g_free(b);
}

bool viv_scsi_bus_exists(const char *name)
{
    struct viv_scsi_bus *b = buses;

    while (b && strcmp(b->name, name))
        b = b->next;
    return b != NULL;
}

struct viv_dev *viv_scsi_bus_adapter(const struct viv_scsi_bus *b)
{
    return b->adapter;
}

struct viv_scsi_dev *viv_scsi_next(struct viv_scsi_bus *b, struct viv_scsi_dev *d)
{
    return d ? d->next : b->devs;
}

struct viv_scsi_dev *viv_scsi_at(struct viv_scsi_bus *b, unsigned id, unsigned lun)
{
    struct viv_scsi_dev *d = b->devs;

    while (d && (d->id != id || d->lun != lun))
        d = d->next;
    return d;
}

static bool leaving(const struct viv_scsi_bus *b)
{
    return b->adapter && b->adapter->life == VIV_DEV_LEAVING;
}

static int no_bus(const char *name, const char *what, struct viv_err *err)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (const struct viv_scsi_bus *b = buses; b; b = b->next) {
        if (!leaving(b))
            g_string_append_printf(names, "%s'%s'", names->len ? ", " : "", b->name);
    }
    if (!names->len)
        return viv_fail(err, ENODEV, "%s: this machine has no SCSI bus; an adapter has to come first", what);
    return viv_fail(err, ENODEV, "%s: there is no SCSI bus '%s'; there is %.300s", what, name, names->str);
}

static int find_bus(const char *name, struct viv_scsi_bus **out, const char *what, struct viv_err *err)
{
    struct viv_scsi_bus *b = buses;

    while (b && (leaving(b) || (name && strcmp(b->name, name))))
        b = b->next;
    *out = b;
    return b ? 0 : no_bus(name, what, err);
}

static bool free_id(struct viv_scsi_bus *b, unsigned lun, unsigned *id)
{
    for (*id = 0; *id < b->ops->ids; ++*id) {
        if (!viv_scsi_at(b, *id, lun))
            return true;
    }
    return false;
}

static int add_boot(struct viv_scsi_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    g_autofree char *at = d->bus->ops->fw_path ? d->bus->ops->fw_path(d->bus) : NULL;

    if (!viv_opts_given(opts, "bootindex"))
        return 0;
    if (!at)
        return viv_fail(err, ENOTSUP, "%s: bootindex: firmware does not boot from this adapter; leave it out", viv_opts_what(opts));
    d->fw_path = g_strdup_printf("%s/disk@%x,%x", at, d->id, d->lun);
    if (viv_bootorder_add(d->dev, viv_opts_int(opts, "bootindex"), d->fw_path, err) == 0)
        return 0;
    viv_err_prefix(err, "%s", viv_opts_what(opts));
    g_clear_pointer(&d->fw_path, g_free);
    return -EBUSY;
}

int viv_scsi_dev_init(struct viv_scsi_dev *d, struct viv_dev *dev, const struct viv_scsi_dev_ops *ops, struct viv_opts *opts,
                      struct viv_err *err)
{
    const char *what = viv_opts_what(opts), *bus = viv_opts_str(opts, "bus");
    unsigned id = (unsigned)viv_opts_int(opts, "scsi-id"), lun = (unsigned)viv_opts_int(opts, "lun");
    struct viv_scsi_bus *b;
    int rc = find_bus(bus, &b, what, err);

    if (viv_opts_int(opts, "channel"))
        return viv_fail(err, EINVAL, "%s: channel=%" PRId64 ": SCSI buses here have the one channel 0", what, viv_opts_int(opts, "channel"));
    if (!viv_opts_given(opts, "scsi-id")) {
        while (b && (leaving(b) || !free_id(b, lun, &id)))
            b = bus ? NULL : b->next;
        if (!rc && !b)
            return viv_fail(err, EBUSY, "%s: no place is left on SCSI bus%s%s", what, bus ? " " : "es", bus ? bus : "");
    }
    if (rc < 0)
        return rc;
    if (id >= b->ops->ids || lun >= b->ops->luns)
        return viv_fail(err, EINVAL, "%s: scsi-id=%u,lun=%u: bus '%s' has scsi-id 0 to %u and lun 0 to %u", what, id, lun, b->name,
                        b->ops->ids - 1, b->ops->luns - 1);
    if (viv_scsi_at(b, id, lun))
        return viv_fail(err, EBUSY, "%s: scsi-id=%u,lun=%u of bus '%s' is taken", what, id, lun, b->name);
    dev->parent = b->adapter;
    if (!dev->path)
        dev->path = g_strdup_printf("%s/%u.%u/%s", b->name, id, lun, dev->cls->name);
    viv_scsi_dev_plug(d, dev, ops, b, id, lun);
    rc = add_boot(d, opts, err);
    if (rc < 0)
        viv_scsi_dev_fini(d);
    return rc;
}

/* SPC-4 6.33: other units of the same target tell that there are more or fewer of them. */
static void luns_changed(struct viv_scsi_bus *b, unsigned id)
{
    for (struct viv_scsi_dev *d = b->devs; d; d = d->next) {
        if (d->id == id && !d->attention)
            d->attention = VIV_SCSI_ASC_LUNS_CHANGED;
    }
}

void viv_scsi_dev_plug(struct viv_scsi_dev *d, struct viv_dev *dev, const struct viv_scsi_dev_ops *ops, struct viv_scsi_bus *b,
                       unsigned id, unsigned lun)
{
    struct viv_scsi_dev **end = &b->devs;

    *d = (struct viv_scsi_dev){.dev = dev, .ops = ops, .bus = b, .id = id, .lun = lun, .attention = VIV_SCSI_ASC_POWER_ON};
    while (*end)
        end = &(*end)->next;
    *end = d;
    luns_changed(b, id);
    if (b->ops->plugged)
        b->ops->plugged(b, d);
}

void viv_scsi_dev_fini(struct viv_scsi_dev *d)
{
    struct viv_scsi_dev **p;

    if (d->fw_path)
        viv_bootorder_remove(d->dev);
    g_clear_pointer(&d->fw_path, g_free);
    if (!d->bus)
        return;
    for (p = &d->bus->devs; *p != d; p = &(*p)->next)
        ;
    *p = d->next;
    luns_changed(d->bus, d->id);
    if (d->bus->ops->unplugged)
        d->bus->ops->unplugged(d->bus, d);
    d->left = d->bus;
    d->bus = NULL;
}

/* ---- coming and going ---- */

static void pull(struct viv_dev *dev)
{
    for (struct viv_scsi_bus *b = buses; b; b = b->next) {
        for (struct viv_scsi_dev *d = b->devs; d; d = d->next) {
            if (d->dev == dev) {
                viv_scsi_dev_fini(d);
                return;
            }
        }
    }
}

const struct viv_hotplug viv_scsi_hotplug = {.unplug = pull};

void viv_scsi_attention(struct viv_scsi_dev *d, uint16_t asc)
{
    d->attention = asc;
    if (d->bus && d->bus->ops->attention)
        d->bus->ops->attention(d->bus, d, asc);
}

void viv_scsi_told(struct viv_scsi_dev *d)
{
    struct viv_scsi_bus *b = d->bus ? d->bus : d->left;

    if (b && b->ops->told)
        b->ops->told(b);
}

/* ---- what common code answers ---- */

static void report_luns(struct viv_scsi_req *r, unsigned id)
{
    uint32_t allocated = viv_ld_be32(r->cdb + 6);
    size_t n = 0;
    uint8_t *p;

    if (r->cdb[2] > 2 || allocated < 16) { /* SPC-4 6.33 */
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_CDB);
        return;
    }
    for (struct viv_scsi_dev *d = r->bus->devs; d; d = d->next)
        n += d->id == id && r->cdb[2] != 1; /* 1: well-known units, of which there are none */
    n = MIN(n, VIV_SCSI_BUF_MOST / 8 - 1);
    p = viv_scsi_answer(r, 8 + 8 * n, allocated);
    viv_st_be32(p, (uint32_t)(8 * n));
    p += 8;
    for (unsigned lun = 0; n; lun++) { /* in order of their numbers */
        if (!viv_scsi_at(r->bus, id, lun))
            continue;
        viv_st_be16(p, (uint16_t)(lun < 256 ? lun : lun | 0x4000)); /* SAM-5 4.6: peripheral or flat addressing */
        p += 8;
        n--;
    }
}

/* SPC-4 6.6.2, 6.39: a unit that is not there can be asked what it is and why it is not. */
static void not_there(struct viv_scsi_req *r)
{
    uint8_t *p;

    if (r->cdb[0] == INQUIRY && !(r->cdb[1] & 1) && !r->cdb[2]) {
        p = viv_scsi_answer(r, 36, viv_ld_be16(r->cdb + 3));
        p[0] = 0x7f; /* qualifier 3, type 1Fh: none can be here */
        p[2] = 5;
        p[3] = 2;
        p[4] = 36 - 5;
    } else if (r->cdb[0] == REQUEST_SENSE) {
        viv_scsi_put_sense(viv_scsi_answer(r, VIV_SCSI_SENSE_LEN, r->cdb[4]), VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_LUN);
    } else {
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_LUN);
    }
}

/* ---- requests ---- */

/* SPC-4 4.3.2: the group in bits 7-5 of the operation code. Variable and vendor's groups: what the adapter has. */
static unsigned cdb_length(uint8_t op)
{
    static const uint8_t lengths[8] = {6, 10, 10, 0, 16, 12, 0, 0};

    return lengths[op >> 5];
}

/* SAM-5 5.14: who tells of the attention, and is ended by it. */
static bool attend(struct viv_scsi_req *r)
{
    struct viv_scsi_dev *d = r->dev;
    uint16_t asc = d->attention;

    if (!asc || r->cdb[0] == INQUIRY || r->cdb[0] == REPORT_LUNS || r->cdb[0] == REQUEST_SENSE ||
        (d->ops->unattended && d->ops->unattended(r->cdb)))
        return false;
    d->attention = 0;
    viv_scsi_fail(r, VIV_SCSI_UNIT_ATTENTION, asc);
    return true;
}

static bool any_unit(struct viv_scsi_bus *b, unsigned id)
{
    struct viv_scsi_dev *d = b->devs;

    while (d && d->id != id)
        d = d->next;
    return d != NULL;
}

struct viv_scsi_req *viv_scsi_new(struct viv_scsi_bus *b, unsigned id, unsigned lun, uint64_t tag, const uint8_t *cdb, size_t cdb_len,
                                  void *mine)
{
    struct viv_scsi_req *r = g_new0(struct viv_scsi_req, 1);

    r->bus = b;
    r->dev = viv_scsi_at(b, id, lun);
    r->lun = lun;
    r->tag = tag;
    r->mine = mine;
    r->refs = 1;
    r->refused = true; /* while it is made */
    memcpy(r->cdb, cdb, MIN(cdb_len, VIV_SCSI_CDB_MOST));
    if (!cdb_len || cdb_len < cdb_length(cdb[0]))
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_CDB);
    else if (r->cdb[0] == REPORT_LUNS && any_unit(b, id))
        report_luns(r, id);
    else if (!r->dev)
        not_there(r);
    else if (!attend(r))
        r->dev->ops->parse(r->dev, r);
    r->refused = r->status != VIV_SCSI_GOOD;
    if (r->refused || !r->length)
        r->direction = VIV_SCSI_NONE;
    if (r->refused)
        r->length = 0;
    return r;
}

int viv_scsi_resume(struct viv_scsi_req *r, uint64_t moved, struct viv_err *err)
{
    if (r->refused || (moved && r->buf) || moved > r->length)
        return viv_fail(err, EINVAL, "a saved SCSI command (%02xh) cannot have moved %llu bytes", r->cdb[0],
                        (unsigned long long)moved);
    r->moved = moved;
    return 0;
}

void viv_scsi_get(struct viv_scsi_req *r)
{
    r->refs++;
}

void viv_scsi_put(struct viv_scsi_req *r)
{
    if (--r->refs)
        return;
    g_free(r->buf);
    g_free(r);
}

/* ---- data ---- */

uint8_t *viv_scsi_answer(struct viv_scsi_req *r, size_t len, size_t allocated)
{
    g_assert(len <= VIV_SCSI_BUF_MOST && !r->buf);
    r->buf = g_malloc0(MAX(len, VIV_SCSI_SENSE_LEN));
    r->direction = VIV_SCSI_READ;
    r->length = MIN(len, allocated);
    return r->buf;
}

void viv_scsi_parameters(struct viv_scsi_req *r, size_t len)
{
    if (len > VIV_SCSI_BUF_MOST) {
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_CDB);
        return;
    }
    r->buf = g_malloc0(len + 1);
    r->direction = VIV_SCSI_WRITE;
    r->length = len;
}

/* One step of an answer or of parameters. */
static size_t copy(struct viv_scsi_req *r, const struct iovec *iov, unsigned n)
{
    size_t did = 0;

    for (unsigned i = 0; i < n && r->moved + did < r->length; i++) {
        size_t part = MIN(iov[i].iov_len, r->length - r->moved - did);

        if (r->direction == VIV_SCSI_READ)
            memcpy(iov[i].iov_base, r->buf + r->moved + did, part);
        else
            memcpy(r->buf + r->moved + did, iov[i].iov_base, part);
        did += part;
    }
    return did;
}

static bool any_bytes(const struct iovec *iov, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (iov[i].iov_len)
            return true;
    }
    return false;
}

void viv_scsi_move(struct viv_scsi_req *r, const struct iovec *iov, unsigned n)
{
    bool more = r->moved < r->length && any_bytes(iov, n);

    g_assert(!r->ended && !r->io);
    if (r->refused) {
        viv_scsi_end(r, r->status);
        return;
    }
    if (more && !r->buf) {
        r->dev->ops->move(r->dev, r, iov, n);
        return;
    }
    viv_scsi_get(r);
    if (more) {
        size_t did = copy(r, iov, n);

        /* The end is told by this call alone: `moved` must not move on by itself. */
        r->moved += did;
        r->bus->ops->moved(r, did);
        more = r->moved < r->length;
    }
    if (!more && !r->ended) {
        if (r->dev && (r->direction == VIV_SCSI_NONE || (r->direction == VIV_SCSI_WRITE && r->buf)))
            r->dev->ops->execute(r->dev, r);
        else
            viv_scsi_end(r, VIV_SCSI_GOOD);
    }
    viv_scsi_put(r);
}

void viv_scsi_moved(struct viv_scsi_req *r, size_t bytes)
{
    r->moved += bytes;
    r->bus->ops->moved(r, bytes);
}

void viv_scsi_cancel(struct viv_scsi_req *r)
{
    if (r->ended || r->cancelled)
        return;
    r->cancelled = true;
    if (r->io)
        r->dev->ops->cancel(r->dev, r);
    else
        viv_scsi_end(r, VIV_SCSI_ABORTED);
}

void viv_scsi_end(struct viv_scsi_req *r, uint8_t status)
{
    if (r->ended)
        return;
    r->ended = true;
    r->status = r->cancelled ? VIV_SCSI_ABORTED : status;
    r->bus->ops->done(r);
}

void viv_scsi_put_sense(uint8_t s[VIV_SCSI_SENSE_LEN], uint8_t key, uint16_t asc)
{
    memset(s, 0, VIV_SCSI_SENSE_LEN);
    s[0] = 0x70; /* SPC-4 4.5.3: current, fixed format */
    s[2] = key;
    s[7] = VIV_SCSI_SENSE_LEN - 8;
    s[12] = (uint8_t)(asc >> 8);
    s[13] = (uint8_t)asc;
}

void viv_scsi_fail(struct viv_scsi_req *r, uint8_t key, uint16_t asc)
{
    viv_scsi_put_sense(r->sense, key, asc);
    r->sense_len = VIV_SCSI_SENSE_LEN;
    r->status = VIV_SCSI_CHECK;
    if (!r->refused)
        viv_scsi_end(r, VIV_SCSI_CHECK);
}

const struct viv_state_table viv_scsi_dev_state = {
    .name = "scsi-dev",
    .ctype = "viv_scsi_dev",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(viv_scsi_dev, dev),
            VIV_F_CONFIG(viv_scsi_dev, ops),
            VIV_F_CONFIG(viv_scsi_dev, bus),
            VIV_F_CONFIG(viv_scsi_dev, id),
            VIV_F_CONFIG(viv_scsi_dev, lun),
            VIV_F_INT(viv_scsi_dev, attention),
            VIV_F_CONFIG(viv_scsi_dev, fw_path),
            VIV_F_DERIVED(viv_scsi_dev, left, "NULL: it is there"),
            VIV_F_CONFIG(viv_scsi_dev, next),
            VIV_F_END,
        },
};
