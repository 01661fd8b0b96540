#include "base/bytes.h"
#include "base/units.h"
#include "dev/misc/fperr.h"
#include "dev/misc/fw_cfg.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_fw_cfg, viv_dev_port92, viv_dev_isa_debug_exit,
    viv_dev_pc_testdev, viv_dev_fperr;
const struct viv_dev_class *const rig_classes[] = {
    &viv_dev_fw_cfg, &viv_dev_port92, &viv_dev_isa_debug_exit, &viv_dev_pc_testdev, &viv_dev_fperr, NULL};

static void test_fw_cfg_ports(void)
{
    struct viv_dev *d;
    struct viv_err err = VIV_ERR_INIT;
    char sig[5] = "";
    uint16_t key;
    g_autofree char *long_name = g_strnfill(56, 'x');

    rig_init();
    d = rig_add("fw_cfg", NULL);
    viv_fw_cfg_add_u64(d, VIV_FW_CFG_RAM_SIZE, 0x1122334455667788);
    out16(0x510, VIV_FW_CFG_SIGNATURE);
    for (int i = 0; i < 4; i++)
        sig[i] = (char)in8(0x511);
    g_assert_cmpstr(sig, ==, "QEMU");
    g_assert_cmphex(in8(0x511), ==, 0); /* past the end */
    out16(0x510, VIV_FW_CFG_RAM_SIZE);
    g_assert_cmphex(in8(0x511), ==, 0x88);
    g_assert_cmphex(in8(0x511), ==, 0x77);
    out16(0x510, 0x3fff);
    g_assert_cmphex(in8(0x511), ==, 0);

    g_assert_cmpint(viv_fw_cfg_add_file(d, "opt/b", "bbb", 3, &key, &err), ==, 0);
    g_assert_cmphex(key, ==, 0x20);
    g_assert_cmpint(viv_fw_cfg_add_file(d, "etc/a", "aaaa", 4, &key, &err), ==, 0);
    g_assert_cmphex(key, ==, 0x21);
    g_assert_cmpint(viv_fw_cfg_add_file(d, "opt/b", "BBBBB", 5, &key, &err), ==, 0);
    g_assert_cmphex(key, ==, 0x20);
    g_assert_cmpint(viv_fw_cfg_add_file(d, long_name, "", 0, NULL, &err), ==, -EINVAL);
    out16(0x510, VIV_FW_CFG_FILE_DIR);
    {
        uint8_t dir[4 + 2 * 64];

        for (unsigned i = 0; i < sizeof(dir); i++)
            dir[i] = in8(0x511);
        g_assert_cmpuint(viv_ld_be32(dir), ==, 2);
        g_assert_cmpstr((char *)dir + 4 + 8, ==, "etc/a"); /* sorted */
        g_assert_cmpuint(viv_ld_be32(dir + 4), ==, 4);
        g_assert_cmpuint(viv_ld_be16(dir + 4 + 4), ==, 0x21);
        g_assert_cmpstr((char *)dir + 4 + 64 + 8, ==, "opt/b");
        g_assert_cmpuint(viv_ld_be32(dir + 4 + 64), ==, 5);
    }
    rig_fini();
}

static void test_fw_cfg_dma(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_ram *ram = NULL;
    struct viv_dev *d;
    uint8_t *desc;

    rig_init();
    g_assert_cmpint(viv_ram_new("r", 0x10000, &ram, &err), ==, 0);
    viv_region_map(viv_region_new(rig.board.mem, &(struct viv_region_desc){.name = "r",
                                                                           .kind = VIV_REGION_RAM,
                                                                           .size = 0x10000,
                                                                           .ram = ram}),
                   0x1000, 0);
    d = rig_add("fw_cfg", NULL);
    viv_fw_cfg_add(d, VIV_FW_CFG_UUID, "0123456789abcdef", 16);
    g_assert_cmphex(in32(0x514), ==, 0x554d4551);
    desc = ram->hva;
    memset(ram->hva + 0x100, 0xee, 64);
    viv_st_be32(desc, VIV_FW_CFG_UUID << 16 | 0x08 | 0x02); /* select, read */
    viv_st_be32(desc + 4, 20);
    viv_st_be64(desc + 8, 0x1100);
    out32(0x514, 0);
    out32(0x518, __builtin_bswap32(0x1000));
    g_assert_cmphex(viv_ld_be32(desc), ==, 0);
    g_assert_cmpmem(ram->hva + 0x100, 21, "0123456789abcdef\0\0\0\0\xee", 21);
    viv_st_be32(desc, VIV_FW_CFG_UUID << 16 | 0x08 | 0x04); /* select, skip */
    viv_st_be32(desc + 4, 10);
    out32(0x518, __builtin_bswap32(0x1000));
    g_assert_cmphex(in8(0x511), ==, 'a');
    viv_st_be32(desc, 0x10); /* write: refused */
    out32(0x518, __builtin_bswap32(0x1000));
    g_assert_cmphex(viv_ld_be32(desc), ==, 1);
    viv_st_be32(desc, 0x02);
    viv_st_be32(desc + 4, 0xffffffff); /* runs off the end of memory */
    out32(0x518, __builtin_bswap32(0x1000));
    g_assert_cmphex(viv_ld_be32(ram->hva), !=, 2);
    out32(0x518, __builtin_bswap32(0x90000000)); /* no descriptor there */
    rig_fini();
}

static void test_debug_exit(void)
{
    rig_init();
    rig_add("isa-debug-exit", "iobase=0xf4,iosize=0x4");
    out32(0xf4, 0x10);
    g_assert_cmpint(rig.request, ==, VIV_VM_QUIT);
    g_assert_cmpint(rig.request_code, ==, 0x21);
    out8(0xf7, 0);
    g_assert_cmpint(rig.request_code, ==, 1);
    rig_refused("isa-debug-exit", "iosize=0", "iosize");
    rig_fini();
}

static void test_pc_testdev(void)
{
    rig_init();
    rig_add("pc-testdev", NULL);
    out32(0xe0, 0x12345678);
    g_assert_cmphex(in32(0xe0), ==, 0x12345678);
    g_assert_cmphex(in16(0xe0), ==, 0x5678);
    out8(0xe0, 0xff);
    g_assert_cmphex(in32(0xe0), ==, 0x123456ff);
    out32(0xe4, 0x1000);
    out8(0x2000 + 5, 1);
    out8(0x2000 + 20, 1);
    g_assert_cmpint(rig.line[5], ==, 1);
    g_assert_cmpint(rig.line[20], ==, 1);
    out8(0x2000 + 5, 0);
    g_assert_cmpint(rig.line[5], ==, 0);
    set_mem64(0xff000003, 0x1122334455667788);
    g_assert_cmphex(mem64(0xff000003), ==, 0x1122334455667788);
    g_assert_cmphex(mem32(0xff00ffff) & 0xff, ==, 0);
    rig_fini();
}

static void test_port92(void)
{
    g_autofree uint8_t *state = NULL;
    size_t len;

    rig_init();
    rig_add_ram(4u << 20);
    rig_add("port92", NULL);
    set_mem32(0x1000, 1);
    set_mem32(0x101000, 2);
    g_assert_cmphex(in8(0x92), ==, 2);
    out8(0x92, 0);
    g_assert_cmphex(in8(0x92), ==, 0);
    g_assert_cmphex(mem32(0x101000), ==, 1);
    state = rig_save(&len);
    viv_dev_lock();
    viv_irq_set(&rig.board.a20, 1); /* the keyboard controller's gate */
    viv_dev_unlock();
    g_assert_cmphex(in8(0x92), ==, 2);
    g_assert_cmphex(mem32(0x101000), ==, 2);
    rig_load(state, len);
    g_assert_cmphex(mem32(0x101000), ==, 1);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_cmphex(mem32(0x101000), ==, 2);
    g_assert_cmpuint(rig.requests, ==, 0);
    out8(0x92, 1);
    g_assert_cmpint(rig.request, ==, VIV_VM_RESET);
    g_assert_cmpint(rig.request_code, ==, VIV_VM_RESET_CPUS);
    g_assert_cmpuint(rig.requests, ==, 1);
    rig_fini();
}

static bool ignne;

static void set_ignne(bool on)
{
    ignne = on;
}

static bool get_ignne(void)
{
    return ignne;
}

/* That an error is ignored is part of the state, and the CPU may have ended it. */
static void test_fperr(void)
{
    static const struct viv_fperr_ignne pin = {set_ignne, get_ignne};
    g_autofree uint8_t *on = NULL, *off = NULL;
    size_t on_len, off_len;
    struct viv_dev *d;

    rig_init();
    d = rig_add("x87-error", NULL);
    viv_fperr_connect(d, &pin);
    out8(0xf0, 0); /* nothing to take back */
    g_assert_false(ignne);
    viv_dev_lock();
    viv_fperr_assert(d);
    viv_dev_unlock();
    out8(0xf0, 0);
    g_assert_true(ignne);
    on = rig_save(&on_len);
    ignne = false;
    off = rig_save(&off_len);
    rig_load(on, on_len);
    g_assert_true(ignne);
    rig_load(off, off_len);
    g_assert_false(ignne);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fw_cfg/ports", test_fw_cfg_ports);
    g_test_add_func("/fw_cfg/dma", test_fw_cfg_dma);
    g_test_add_func("/isa-debug-exit", test_debug_exit);
    g_test_add_func("/pc-testdev", test_pc_testdev);
    g_test_add_func("/port92", test_port92);
    g_test_add_func("/x87-error", test_fperr);
    return g_test_run();
}
