#include "dev/acpi/ged.h"
#include "dev/test_rig.h"

#include <glib.h>

#define BASE 0xfea00000u

extern const struct viv_dev_class viv_dev_ged;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_ged, NULL};

static struct viv_dev *ged;

static void start(void)
{
    rig_init();
    ged = rig_add("acpi-ged", NULL);
    viv_ged_connect(ged, BASE, &rig.board.isa_irq[9]);
}

static void put8(uint64_t addr, uint8_t v)
{
    viv_space_write_locked(rig.board.mem, addr, v, 1);
}

static void test_button(void)
{
    start();
    g_assert_cmpint(rig.line[9], ==, 0);
    viv_ged_power_button(ged);
    g_assert_cmpint(rig.line[9], ==, 1);
    g_assert_cmpuint(mem32(BASE), ==, VIV_GED_EVENT_POWER_BUTTON);
    g_assert_cmpint(rig.line[9], ==, 0);
    g_assert_cmpuint(mem32(BASE), ==, 0);
    rig_fini();
}

static void test_requests(void)
{
    start();
    put8(BASE + VIV_GED_RESET, 0);
    put8(BASE + VIV_GED_SLEEP_CTL, VIV_GED_SLP_TYP_S5 << 2); /* without SLP_EN */
    put8(BASE + VIV_GED_SLEEP_CTL, 3 << 2 | 0x20);           /* another sleep state */
    g_assert_cmpuint(rig.requests, ==, 0);
    put8(BASE + VIV_GED_SLEEP_CTL, VIV_GED_SLP_TYP_S5 << 2 | 0x20);
    g_assert_cmpuint(rig.requests, ==, 1);
    g_assert_cmpint(rig.request, ==, VIV_VM_SHUTDOWN);
    put8(BASE + VIV_GED_RESET, VIV_GED_RESET_VALUE);
    g_assert_cmpuint(rig.requests, ==, 2);
    g_assert_cmpint(rig.request, ==, VIV_VM_RESET);
    rig_fini();
}

static void test_state(void)
{
    g_autofree uint8_t *a = NULL, *b = NULL;
    size_t len, len2;

    start();
    viv_ged_power_button(ged);
    a = rig_save(&len);
    rig_fini();
    start();
    rig_load(a, len);
    b = rig_save(&len2);
    g_assert_cmpmem(a, len, b, len2);
    g_assert_cmpuint(mem32(BASE), ==, VIV_GED_EVENT_POWER_BUTTON);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ged/button", test_button);
    g_test_add_func("/ged/requests", test_requests);
    g_test_add_func("/ged/state", test_state);
    return g_test_run();
}
