/* What a guest asked for and did not get before it was saved. */
#include "machine/vm.h"

#include <errno.h>
#include <glib.h>

static void test_wishes(void)
{
    const unsigned reset = 1u << VIV_VM_RESET, off = 1u << VIV_VM_SHUTDOWN;

    g_assert_cmphex(viv_vm_guest_wishes(), ==, 0);
    g_assert_cmpint(viv_vm_set_guest_wishes(reset | off), ==, 0);
    g_assert_cmphex(viv_vm_guest_wishes(), ==, reset | off);
    g_assert_cmpint(viv_vm_set_guest_wishes(VIV_VM_WISH_CPUS), ==, -EINVAL);
    g_assert_cmpint(viv_vm_set_guest_wishes(off | VIV_VM_WISH_CPUS), ==, -EINVAL);
    g_assert_cmpint(viv_vm_set_guest_wishes(1u << VIV_VM_QUIT), ==, -EINVAL);
    /* A reset of the CPUs alone stays one; nobody has acted on it yet. */
    g_assert_cmpint(viv_vm_set_guest_wishes(reset | VIV_VM_WISH_CPUS), ==, 0);
    g_assert_cmphex(viv_vm_guest_wishes(), ==, reset | VIV_VM_WISH_CPUS);
    g_assert_cmpint(viv_vm_set_guest_wishes(0), ==, 0);
    viv_vm_request(VIV_VM_RESET, VIV_VM_RESET_CPUS, "test");
    g_assert_cmphex(viv_vm_guest_wishes(), ==, reset | VIV_VM_WISH_CPUS);
    g_assert_cmpint(viv_vm_set_guest_wishes(reset), ==, 0); /* the first one counts */
    g_assert_cmphex(viv_vm_guest_wishes(), ==, reset);
    viv_vm_requests_drop(reset);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vm/wishes", test_wishes);
    return g_test_run();
}
