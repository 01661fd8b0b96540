#include "dev/test_rig.h"

#include "base/units.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"

#include <glib.h>
#include <string.h>

struct rig rig;

void viv_vm_request(enum viv_vm_request what, int code, const char *who)
{
    rig.requests++;
    rig.request = what;
    rig.request_code = code;
}

static void set_line(void *opaque, int n, int level)
{
    if (level && !rig.line[n])
        rig.rises[n]++;
    rig.line[n] = level;
}

static void set_extint(struct viv_intc *c, int level)
{
    rig.extint = level;
}

static void send_msi(struct viv_intc *c, uint64_t addr, uint32_t data)
{
    rig.msis++;
    rig.msi_addr = addr;
    rig.msi_data = data;
}

static void send_smi(void *opaque, int n, int level)
{
    rig.smis[n] += level;
}

void rig_init(void)
{
    static const struct viv_intc_ops ops = {.set_extint = set_extint, .send_msi = send_msi};

    memset(&rig, 0, sizeof(rig));
    viv_dev_lock();
    viv_guest_clock_stop();
    viv_guest_clock_set_ns(0);
    viv_dev_unlock();
    rig.intc.ops = &ops;
    rig.board.intc = &rig.intc;
    rig.board.mem = viv_space_new("mem", 64);
    rig.board.smm = viv_space_new_over("smm", rig.board.mem);
    rig.board.smi = (struct viv_irq){send_smi, NULL, 0};
    rig.board.smi_all = (struct viv_irq){send_smi, NULL, 1};
    rig.board.io = viv_space_new("io", 16);
    for (int i = 0; i < 24; i++) {
        struct viv_irq *irq = i < 16 ? &rig.board.isa_irq[i] : &rig.board.gsi_irq[i];

        *irq = (struct viv_irq){set_line, NULL, i};
    }
    viv_dev_set_classes(rig_classes);
}

void rig_fini(void)
{
    viv_dev_lock();
    viv_dev_free_all();
    viv_dev_unlock();
    viv_space_free(rig.board.smm);
    viv_space_free(rig.board.mem);
    viv_space_free(rig.board.io);
}

void rig_add_ram(uint64_t size)
{
    static struct viv_ram *ram; /* lives as long as the process */
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = size};
    struct viv_err err = VIV_ERR_INIT;

    if (!ram && viv_ram_new("pc.ram", size, &ram, &err) < 0)
        g_error("%s", err.text);
    memset(ram->hva, 0, size);
    d.ram = ram;
    viv_region_map(viv_region_new(rig.board.mem, &d), 0, 0);
}

static void set_flag(void *opaque)
{
    *(bool *)opaque = true;
}

static bool flag_is_set(void *opaque)
{
    return *(bool *)opaque;
}

static bool all_gone(void *unused)
{
    struct viv_dev *d = viv_dev_first();

    while (d && d->life != VIV_DEV_LEAVING)
        d = d->next;
    return !d;
}

void rig_turn(void)
{
    bool told = false;

    viv_dev_lock();
    g_assert_true(viv_loop_wait_for(all_gone, NULL, 5 * (int64_t)VIV_NS_PER_SEC));
    viv_loop_call(set_flag, &told); /* behind the events */
    g_assert_true(viv_loop_wait_for(flag_is_set, &told, 5 * (int64_t)VIV_NS_PER_SEC));
    viv_dev_unlock();
}

void rig_step(int64_t ns)
{
    viv_dev_lock();
    viv_guest_clock_step(ns);
    viv_dev_unlock();
}

static int make(const char *cls, const char *text, struct viv_dev **out, struct viv_err *err)
{
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    const struct viv_dev_class *c = viv_dev_class_find(cls);
    struct viv_opts *opts = NULL;
    int r;

    g_assert_nonnull(c);
    r = viv_opts_parse(cls, c->props ? c->props : none, NULL, text ? text : "", &opts, err);
    viv_dev_lock();
    if (r == 0)
        r = viv_dev_new(&rig.board, cls, NULL, NULL, opts, out, err);
    viv_dev_unlock();
    viv_opts_free(opts);
    return r;
}

struct viv_dev *rig_add(const char *cls, const char *opts)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_dev *d = NULL;

    if (make(cls, opts, &d, &err) < 0)
        g_error("%s: %s", cls, err.text);
    return d;
}

void rig_refused(const char *cls, const char *opts, const char *word)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_dev *d = NULL;

    g_assert_cmpint(make(cls, opts, &d, &err), <, 0);
    if (!strstr(err.text, word))
        g_error("'%s' is not in: %s", word, err.text);
}

void out8(uint16_t port, uint8_t v)
{
    viv_space_write(rig.board.io, port, v, 1);
}

void out16(uint16_t port, uint16_t v)
{
    viv_space_write(rig.board.io, port, v, 2);
}

void out32(uint16_t port, uint32_t v)
{
    viv_space_write(rig.board.io, port, v, 4);
}

uint8_t in8(uint16_t port)
{
    return (uint8_t)viv_space_read(rig.board.io, port, 1);
}

uint16_t in16(uint16_t port)
{
    return (uint16_t)viv_space_read(rig.board.io, port, 2);
}

uint32_t in32(uint16_t port)
{
    return (uint32_t)viv_space_read(rig.board.io, port, 4);
}

uint32_t mem32(uint64_t addr)
{
    return (uint32_t)viv_space_read(rig.board.mem, addr, 4);
}

void set_mem32(uint64_t addr, uint32_t v)
{
    viv_space_write(rig.board.mem, addr, v, 4);
}

uint64_t mem64(uint64_t addr)
{
    return viv_space_read(rig.board.mem, addr, 8);
}

void set_mem64(uint64_t addr, uint64_t v)
{
    viv_space_write(rig.board.mem, addr, v, 8);
}

uint8_t *rig_save(size_t *len)
{
    struct viv_state_writer *w = viv_state_writer_new();
    uint8_t *data;

    viv_dev_save_all(w);
    data = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    return data;
}

static int load(const uint8_t *data, size_t len, struct viv_err *err)
{
    struct viv_state_reader *r = viv_state_reader_new(data, len);
    int rc;

    viv_dev_lock();
    rc = viv_dev_load_all(r, err);
    viv_dev_unlock();
    viv_state_reader_free(r);
    return rc;
}

void rig_load(const uint8_t *data, size_t len)
{
    struct viv_err err = VIV_ERR_INIT;

    if (load(data, len, &err) < 0)
        g_error("%s", err.text);
}

void rig_load_refused(const uint8_t *data, size_t len, const char *part)
{
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(load(data, len, &err), ==, -EINVAL);
    if (!strstr(err.text, part))
        g_error("'%s', and not '%s'", err.text, part);
}
