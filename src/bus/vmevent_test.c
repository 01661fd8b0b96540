/* Events on their way from devices to the monitors. */
#include "bus/vmevent.h"
#include "host/lock.h"
#include "host/loop.h"

#include "base/units.h"

#include <glib.h>
#include <jansson.h>

static unsigned told, deleted;
static char *last;

static void on_event(const char *event, const char *data)
{
    told++;
    deleted += !g_strcmp0(event, "DEVICE_DELETED");
    g_free(last);
    last = g_strdup(data);
}

static bool never(void *unused)
{
    return false;
}

static void pump(void)
{
    viv_loop_wait_for(never, NULL, 20 * (int64_t)VIV_NS_PER_MS);
}

static void test_order(void)
{
    viv_dev_lock();
    viv_vm_event_set_handler(on_event);
    for (int i = 0; i < 5; i++)
        viv_vm_event_json("BALLOON_CHANGE", json_pack("{s:i}", "actual", i));
    pump();
    g_assert_cmpuint(told, ==, 5);
    g_assert_cmpstr(last, ==, "{\"actual\": 4}");
    viv_vm_event_json("STOP", NULL);
    pump();
    g_assert_cmpuint(told, ==, 6);
    g_assert_null(last);
    viv_dev_unlock();
}

/* What a guest causes without end takes no memory without end, nor does it push out what is of another kind. */
static void test_flood(void)
{
    viv_dev_lock();
    told = 0;
    viv_vm_event_json("DEVICE_DELETED", json_pack("{s:s}", "device", "before"));
    for (int i = 0; i < 100000; i++)
        viv_vm_event_json("BALLOON_CHANGE", json_pack("{s:i}", "actual", i));
    for (char name[] = "a"; *name <= 'h'; ++*name)
        viv_vm_event_json("DEVICE_DELETED", json_pack("{s:s}", "device", name));
    pump();
    g_assert_cmpuint(told, <=, 1010);
    g_assert_cmpuint(deleted, ==, 9);
    g_assert_cmpstr(last, ==, "{\"device\": \"h\"}");
    viv_dev_unlock();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmevent/order", test_order);
    g_test_add_func("/vmevent/flood", test_flood);
    return g_test_run();
}
