/* What controller and namespace say of themselves (NVMe 1.4: 5.15 identify, 5.14 log pages). */
#include "dev/nvme/nvme.h"

#include "base/bytes.h"

#include <string.h>

enum { PAGE = 4096, LOG_ERRORS = 1, LOG_SMART = 2, LOG_FIRMWARE = 3, LOG_CHANGED = 4 };
enum { KELVIN = 273 };

/* ASCII, padded with blanks. */
static void put_text(uint8_t *p, const char *text, size_t len)
{
    memset(p, ' ', len);
    memcpy(p, text, strnlen(text, len));
}

static void controller(struct nvme *n, uint8_t *p)
{
    viv_st_le16(p + 0, viv_ld_le16(n->pci.config));
    viv_st_le16(p + 2, viv_ld_le16(n->pci.config + 0x2c));
    put_text(p + 4, n->front.serial, 20);
    put_text(p + 24, "QEMU NVMe Ctrl", 40); /* /dev/disk/by-id has it: names that guests have made of it stay valid */
    put_text(p + 64, "1.0", 8);
    p[72] = 6;          /* recommended arbitration burst: 64 */
    p[74] = 0x54, p[75] = 0x52; /* IEEE OUI, lowest byte first: locally administered */
    p[77] = NVME_MDTS;
    viv_st_le32(p + 80, 0x00010400);
    viv_st_le32(p + 92, NVME_EVENT_NAMESPACE);
    p[111] = 1;         /* an I/O controller */
    p[258] = 3;         /* aborts at a time, less one */
    p[259] = NVME_AERS - 1;
    p[260] = 3;         /* one firmware slot, read only */
    viv_st_le16(p + 266, KELVIN + 70); /* temperatures: warning, critical */
    viv_st_le16(p + 268, KELVIN + 100);
    p[512] = 0x66;      /* entries of 64 and 16 bytes */
    p[513] = 0x44;
    viv_st_le32(p + 516, 1);       /* namespaces */
    viv_st_le16(p + 520, 0x000c);  /* dataset management, write zeroes */
    p[525] = 7;         /* a volatile write cache; flush takes all namespaces */
    g_snprintf((char *)p + 768, 256, "nqn.2014-08.org.nvmexpress.vivarium:%s", n->front.serial);
    viv_st_le16(p + 2048, 2500);   /* power state 0: 25 W */
}

/* The same from one start to the next: by the serial number (FNV-1a). */
static uint64_t eui64(const struct nvme *n)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (const char *s = n->front.serial; *s; s++)
        h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    return 0x525400ull << 40 | (h & 0xffffffffff);
}

static void name_space(struct nvme *n, uint8_t *p)
{
    const struct viv_front *f = &n->front;
    uint64_t blocks = viv_front_blocks(f);

    viv_st_le64(p + 0, blocks);
    viv_st_le64(p + 8, blocks);
    viv_st_le64(p + 16, blocks);
    p[24] = 1 << 4; /* NSFEAT: the preferred sizes below are told */
    p[33] = 1 << 3 | 1; /* DLFEAT: write zeroes takes the deallocate bit; deallocated blocks read as zeroes */
    p[99] = f->ro;
    viv_st_le16(p + 64, (uint16_t)(f->physical / f->logical - 1));              /* preferred: write granularity, */
    viv_st_le16(p + 66, (uint16_t)(f->physical / f->logical - 1));              /* alignment, */
    viv_st_le16(p + 68, (uint16_t)((f->discard ? f->discard : f->logical) / f->logical - 1)); /* and of deallocation */
    viv_st_le16(p + 70, (uint16_t)((f->discard ? f->discard : f->logical) / f->logical - 1));
    viv_st_le16(p + 72, (uint16_t)(f->opt_io ? MIN(f->opt_io / f->logical, 65536) - 1 : 0)); /* optimal write size */
    viv_st_be64(p + 120, eui64(n));
    p[128 + 2] = (uint8_t)__builtin_ctz(f->logical); /* format 0 */
}

static void descriptors(struct nvme *n, uint8_t *p)
{
    p[0] = 1; /* EUI-64 */
    p[1] = 8;
    viv_st_be64(p + 4, eui64(n));
}

uint16_t nvme_identify(struct nvme_req *r)
{
    g_autofree uint8_t *p = g_malloc0(PAGE);
    uint32_t ns = viv_ld_le32(r->cmd.bytes + 4);

    switch (r->cmd.bytes[40]) {
    case 0:
        if (ns != 1 && ns != UINT32_MAX) /* FFFFFFFFh: what all have in common */
            return NVME_INVALID_NS;
        name_space(r->n, p);
        break;
    case 1:
        controller(r->n, p);
        break;
    case 2: /* the active namespaces above this number */
        if (ns >= 0xfffffffe)
            return NVME_INVALID_NS;
        viv_st_le32(p, ns ? 0 : 1);
        break;
    case 3:
        if (ns != 1)
            return NVME_INVALID_NS;
        descriptors(r->n, p);
        break;
    default:
        return NVME_INVALID_FIELD;
    }
    return nvme_copy_out(r, p, PAGE);
}

/* ---- log pages ---- */

static void smart(struct nvme *n, uint8_t *p)
{
    viv_st_le16(p + 1, KELVIN + 30);
    p[3] = 100; /* spare left */
    p[4] = 10;  /* and its threshold */
    /* In thousands of 512 bytes, rounded up; numbers of 16 bytes. */
    viv_st_le64(p + 32, (n->read_bytes + 511999) / 512000);
    viv_st_le64(p + 48, (n->written_bytes + 511999) / 512000);
    viv_st_le64(p + 64, n->reads);
    viv_st_le64(p + 80, n->writes);
}

uint16_t nvme_log_page(struct nvme_req *r)
{
    uint32_t dw10 = viv_ld_le32(r->cmd.bytes + 40), ns = viv_ld_le32(r->cmd.bytes + 4);
    uint64_t len = ((uint64_t)viv_ld_le16(r->cmd.bytes + 44) << 16 | dw10 >> 16) + 1;
    uint8_t page[PAGE] = {0};
    uint16_t status;

    len *= 4;
    if (viv_ld_le64(r->cmd.bytes + 48)) /* LPA: no offsets */
        return NVME_INVALID_FIELD;
    switch (dw10 & 0xff) {
    case LOG_ERRORS: /* one entry, which says nothing */
        len = MIN(len, 64);
        break;
    case LOG_SMART:
        if (ns && ns != UINT32_MAX) /* of the controller alone */
            return NVME_INVALID_FIELD;
        smart(r->n, page);
        break;
    case LOG_FIRMWARE:
        page[0] = 1; /* slot 1 runs */
        put_text(page + 8, "1.0", 8);
        break;
    case LOG_CHANGED: /* 1024 numbers of namespaces, of which there is one */
        viv_st_le32(page, r->n->changed);
        break;
    default:
        return NVME_INVALID_LOG;
    }
    status = nvme_copy_out(r, page, MIN(len, (dw10 & 0xff) == LOG_CHANGED ? sizeof(page) : 512));
    if (!status && (dw10 & 0xff) == LOG_ERRORS && !(dw10 & 0x8000)) { /* 5.2: reading it lets the next event come */
        r->n->error_masked = false;
        nvme_tell_events(r->n);
    }
    if (!status && (dw10 & 0xff) == LOG_CHANGED && !(dw10 & 0x8000))
        r->n->changed = r->n->change_masked = false;
    return status;
}
