#include "machine/bios.h"

#include "bus/bootorder.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static struct viv_opts *boot(const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o = NULL;

    g_assert_cmpint(viv_opts_parse("-boot", viv_boot_opts, "order", text, &o, &err), ==, 0);
    return o;
}

/* 3Dh: first and second kind, 38h's high half: third; 1 floppy, 2 disk, 3 CD, 4 network. */
static void test_cmos(void)
{
    struct viv_opts *o = boot("order=nc,once=d");

    g_assert_cmphex(viv_bios_boot_cmos(NULL, true), ==, 0x3012); /* disk, floppy, CD */
    g_assert_cmphex(viv_bios_boot_cmos(o, true), ==, 0x0003);
    g_assert_cmphex(viv_bios_boot_cmos(o, false), ==, 0x0024);
    viv_opts_free(o);
    o = boot("dca");
    g_assert_cmphex(viv_bios_boot_cmos(o, false), ==, 0x1023);
    viv_opts_free(o);
}

static void refused(const char *text, const char *word)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o = boot(text);

    g_assert_cmpint(viv_bios_check_boot(o, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, word));
    viv_opts_free(o);
}

static void test_letters(void)
{
    struct viv_opts *o = boot("order=dcn,once=c");
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(viv_bios_check_boot(o, &err), ==, 0);
    g_assert_cmpint(viv_bios_check_boot(NULL, &err), ==, 0);
    viv_opts_free(o);
    refused("order=cz", "'z' is no kind of device");
    refused("once=cc", "twice");
    refused("order=acdn", "three kinds");
}

static void test_order(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_dev disk = {.life = VIV_DEV_THERE}, nic = {.life = VIV_DEV_THERE}, other = {.path = "other"};
    char *s;

    g_assert_cmpint(viv_bootorder_add(&disk, 7, "/pci@i0cf8/scsi@4/disk@0,0", &err), ==, 0);
    g_assert_cmpint(viv_bootorder_add(&nic, 2, "/pci@i0cf8/ethernet@3/ethernet-phy@0", &err), ==, 0);
    g_assert_cmpint(viv_bootorder_add(&disk, 2, "/x", &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err.text, "ethernet@3"));
    s = viv_bootorder_text(false);
    g_assert_cmpstr(s, ==, "/pci@i0cf8/ethernet@3/ethernet-phy@0\n/pci@i0cf8/scsi@4/disk@0,0");
    g_free(s);
    g_assert_cmpint(viv_bootorder_move(&disk, 2, &err), ==, -EBUSY);
    g_assert_cmpint(viv_bootorder_move(&nic, 9, &err), ==, 0);
    s = viv_bootorder_text(false);
    g_assert_cmpstr(s, ==, "/pci@i0cf8/scsi@4/disk@0,0\n/pci@i0cf8/ethernet@3/ethernet-phy@0");
    g_free(s);
    g_assert_cmpint(viv_bootorder_move(&nic, -1, &err), ==, 0);
    g_assert_cmpint(viv_bootorder_index(&nic), ==, -1);
    s = viv_bootorder_text(false);
    g_assert_cmpstr(s, ==, "/pci@i0cf8/scsi@4/disk@0,0");
    g_free(s);
    g_assert_cmpint(viv_bootorder_move(&other, 1, &err), ==, -ENOENT);
    nic.life = VIV_DEV_LEAVING;
    s = viv_bootorder_text(true);
    g_assert_cmpstr(s, ==, "/pci@i0cf8/scsi@4/disk@0,0\nHALT");
    g_free(s);
    viv_bootorder_remove(&nic);
    viv_bootorder_remove(&disk);
    s = viv_bootorder_text(false);
    g_assert_cmpstr(s, ==, "");
    g_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bios/cmos", test_cmos);
    g_test_add_func("/bios/letters", test_letters);
    g_test_add_func("/bios/order", test_order);
    return g_test_run();
}
