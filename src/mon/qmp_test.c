/* QMP over a back end that keeps what it is sent: events and how often, arguments, hostile input. tests/cli/qmp.py has the rest. */
#include "chr/chr_int.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"
#include "mon/mon_int.h"

#include <string.h>

static GString *sent;

static size_t keep(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    g_string_append_len(sent, (const char *)buf, (gssize)len);
    return len;
}

static const struct viv_chr_class keeper = {.name = "keeper", .write = keep};
static struct viv_chr chr = {.cls = &keeper, .id = (char *)"q", .filename = (char *)"q", .is_open = true, .log_fd = -1};

static const struct viv_mon_event_def events[] = {
    {"FAST", "id: str", "as often as it happens"},
    {"SLOW", "id?: str, n: int", "once a second", .slow = true},
    {0},
};

static void say(const char *text)
{
    g_string_truncate(sent, 0);
    viv_chr_deliver(&chr, (const uint8_t *)text, strlen(text));
}

static unsigned count(const char *part)
{
    unsigned n = 0;

    for (const char *p = sent->str; (p = strstr(p, part)) != NULL; p++)
        n++;
    return n;
}

static bool never(void *unused)
{
    return false;
}

static void test_events(void)
{
    g_string_truncate(sent, 0);
    for (unsigned i = 0; i < 5; i++) {
        g_autofree char *data = g_strdup_printf("{\"n\": %u}", i), *other = g_strdup_printf("{\"id\": \"x\", \"n\": %u}", i);

        viv_mon_event("FAST", "{\"id\": \"a\"}");
        viv_mon_event("SLOW", data);
        viv_mon_event("SLOW", other);
    }
    g_assert_cmpuint(count("FAST"), ==, 5);
    g_assert_cmpuint(count("SLOW"), ==, 2); /* one of each that tell it */
    g_assert_cmpuint(count("\"n\": 0"), ==, 2);
    viv_loop_wait_for(never, NULL, 1200000000);
    g_assert_cmpuint(count("SLOW"), ==, 4); /* and the last of each */
    g_assert_cmpuint(count("\"n\": 4"), ==, 2);
    viv_loop_wait_for(never, NULL, 1200000000);
    g_assert_cmpuint(count("SLOW"), ==, 4);
    viv_mon_event("SLOW", "{\"n\": 9}");
    g_assert_cmpuint(count("\"n\": 9"), ==, 1);
}

static void test_arguments(void)
{
    say("{\"execute\": \"ringbuf-read\", \"arguments\": {\"device\": 5, \"size\": 1}}");
    g_assert_nonnull(strstr(sent->str, "Invalid parameter type for 'device', expected: string"));
    say("{\"execute\": \"query-version\", \"arguments\": []}");
    g_assert_nonnull(strstr(sent->str, "must be an object"));
    say("{\"execute\": \"query-version\", \"id\": {\"x\": [1, 2]}}");
    g_assert_nonnull(strstr(sent->str, "\"id\": {\"x\": [1, 2]}"));
    say("{\"exec-oob\": \"query-version\"}");
    g_assert_nonnull(strstr(sent->str, "error"));
}

int main(int argc, char **argv)
{
    struct viv_err err = VIV_ERR_INIT;
    int rc;

    g_test_init(&argc, &argv, NULL);
    viv_dev_lock();
    sent = g_string_new(NULL);
    viv_mon_use(viv_mon_people);
    viv_mon_use(viv_mon_common);
    viv_mon_use_events(events);
    g_assert_cmpint(viv_qmp_new(&chr, false, &err), ==, 0);
    say("{\"execute\": \"qmp_capabilities\"}");
    g_test_add_func("/qmp/arguments", test_arguments);
    g_test_add_func("/qmp/events", test_events);
    rc = g_test_run();
    viv_mon_free_all();
    g_string_free(sent, TRUE);
    viv_dev_unlock();
    return rc;
}
