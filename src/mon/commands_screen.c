/* The commands about screens, keyboards and pointers. */
#include "mon/command.h"
#include "mon/mon_int.h"

#include "bus/dev.h"
#include "host/clock.h"
#include "ui/console.h"
#include "ui/input.h"
#include "ui/keys.h"
#include "ui/screendump.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* --- pictures --- */

/* The console that device and head name; 0 when neither does. */
static int find_console(const char *device, int64_t head, struct viv_console **out, struct viv_err *err)
{
    if (!device && head)
        return viv_fail(err, EINVAL, "head %lld of which device? 'device' is missing", (long long)head);
    *out = device ? viv_console_find(device, (unsigned)head) : viv_console_at(0);
    if (*out)
        return 0;
    if (!device)
        return viv_fail(err, ENODEV, "this machine has no screen; -vga std gives it one");
    if (!viv_dev_find(device))
        viv_mon_error_class("DeviceNotFound");
    return viv_fail(err, ENODEV, "there is no screen '%s', head %lld", device, (long long)head);
}

static const char *const picture_formats[] = {"ppm", "png", NULL};
static const struct viv_opt_def screendump_args[] = {
    {.name = "filename", .type = VIV_OPT_STR, .required = true, .help = "file to write"},
    {.name = "device", .type = VIV_OPT_STR, .help = "id of the adapter (default: the first)"},
    {.name = "head", .type = VIV_OPT_INT, .min = 0, .max = 63, .help = "of its screens"},
    {.name = "format", .type = VIV_OPT_ENUM, .values = picture_formats, .def = "ppm"},
    VIV_OPT_END,
};

COMMAND(screendump)
{
    struct viv_console *c;
    int rc = find_console(viv_opts_str(o, "device"), viv_opts_int(o, "head"), &c, err);

    if (rc < 0)
        return rc;
    return viv_screendump(c, viv_opts_str(o, "filename"),
                          strcmp(viv_opts_str(o, "format"), "png") ? VIV_PICTURE_PPM : VIV_PICTURE_PNG, err);
}

/* A text mode's characters, for people and tests that see no picture. */
static const struct viv_opt_def screen_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .help = "id of the adapter or text console (default: the first)"},
    {.name = "head", .type = VIV_OPT_INT, .min = 0, .max = 63, .help = "of its screens"},
    VIV_OPT_END,
};

COMMAND(query_screen)
{
    struct viv_console *c;
    const struct viv_surface *s;
    g_autofree struct viv_text *t = NULL;
    g_autoptr(GString) out = g_string_new(NULL);
    int rc = find_console(viv_opts_str(o, "device"), viv_opts_int(o, "head"), &c, err);

    if (rc < 0)
        return rc;
    viv_console_refresh(c);
    s = viv_console_surface(c);
    t = viv_console_text(c);
    if (!t && s)
        g_string_printf(out, "graphics %ux%u\n", s->width, s->height);
    else if (!t)
        g_string_assign(out, "no picture\n");
    for (unsigned y = 0; t && y < t->rows; y++) {
        size_t end = out->len; /* behind the last character that is not a space */

        for (unsigned x = 0; x < t->columns; x++) {
            g_string_append_unichar(out, t->cell[y * t->columns + x].ch);
            end = t->cell[y * t->columns + x].ch == ' ' ? end : out->len;
        }
        g_string_truncate(out, end);
        g_string_append_c(out, '\n');
    }
    *result = json_pack("{s:s}", "human-readable-text", out->str);
    return 0;
}

static void show_screen(const json_t *r, GString *out)
{
    g_string_append(out, json_string_value(json_object_get(r, "human-readable-text")));
}

/* --- keys pressed together, for a while --- */

#define CHORD_KEYS 16
#define CHORDS     256

struct chord {
    unsigned code[CHORD_KEYS], count;
    int64_t hold_ms;
};

static struct {
    GQueue waiting; /* struct chord; the first one is down */
    struct viv_timer *timer;
} chords;

static void press(const struct chord *k)
{
    for (unsigned i = 0; i < k->count; i++)
        viv_input_key(k->code[i], true);
    viv_timer_set(chords.timer, viv_clock_ns(VIV_CLOCK_HOST) + k->hold_ms * 1000000);
}

static void release(void *unused)
{
    struct chord *k = g_queue_pop_head(&chords.waiting);

    for (unsigned i = k->count; i-- > 0;)
        viv_input_key(k->code[i], false);
    g_free(k);
    k = g_queue_peek_head(&chords.waiting);
    if (k)
        press(k);
}

static int send_chord(const struct chord *k, struct viv_err *err)
{
    if (chords.waiting.length >= CHORDS)
        return viv_fail(err, EBUSY, "%u key combinations wait to be sent already", chords.waiting.length);
    if (!chords.timer)
        chords.timer = viv_timer_new(VIV_CLOCK_HOST, release, NULL);
    g_queue_push_tail(&chords.waiting, g_memdup2(k, sizeof(*k)));
    if (chords.waiting.length == 1)
        press(k);
    return 0;
}

static int add_key(struct chord *k, int code, const char *name, struct viv_err *err)
{
    if (code < 0)
        return viv_fail(err, EINVAL, "there is no key '%.60s'; names are like ctrl, a, f1, ret, spc, or a scan code 0x1c", name);
    if (k->count == CHORD_KEYS)
        return viv_fail(err, EINVAL, "%d keys at a time at most", CHORD_KEYS);
    k->code[k->count++] = (unsigned)code;
    return 0;
}

/* Scan code set 1, with 80h for those that have the prefix E0. */
static int key_by_number(const char *text)
{
    struct viv_err ignored = VIV_ERR_INIT;
    uint64_t n;

    if (viv_parse_u64(text, &n, &ignored) < 0 || n > 0xff)
        return -1;
    return viv_key_from_set1((unsigned)(n & 0x7f) | (n & 0x80 ? VIV_SET1_E0 : 0));
}

static const struct viv_opt_def sendkey_args[] = {
    {.name = "keys", .type = VIV_OPT_STR, .required = true, .help = "ctrl-alt-f1"},
    {.name = "hold-time", .type = VIV_OPT_INT, .def = "100", .min = 1, .max = 60000, .help = "ms"},
    VIV_OPT_END,
};

COMMAND(sendkey)
{
    g_auto(GStrv) names = g_strsplit(viv_opts_str(o, "keys"), "-", -1);
    struct chord k = {.hold_ms = viv_opts_int(o, "hold-time")};
    int rc = 0;

    for (char **n = names; *n && !rc; n++) {
        const char *name = strcmp(*n, "<") ? *n : "less";

        rc = add_key(&k, g_str_has_prefix(name, "0x") ? key_by_number(name) : viv_key_by_name(name), name, err);
    }
    return rc < 0 ? rc : send_chord(&k, err);
}

/* --- lists of keys and events in QMP --- */

static char *take(struct viv_raw_opts *raw, const char *list, unsigned n, const char *key)
{
    g_autofree char *name = g_strdup_printf("%s.%u.%s", list, n, key);

    return viv_raw_take(raw, name);
}

/* {"type": "qcode", "data": NAME} or {"type": "number", "data": N}. */
static int key_value(const char *type, const char *data, struct viv_err *err)
{
    int code;

    if (!type || !data || (strcmp(type, "qcode") && strcmp(type, "number")))
        return viv_fail(err, EINVAL, "a key is {\"type\": \"qcode\", \"data\": \"ret\"} or {\"type\": \"number\", \"data\": 28}");
    code = strcmp(type, "number") ? viv_key_by_name(data) : key_by_number(data);
    return code < 0 ? viv_fail(err, EINVAL, "there is no key '%.60s'", data) : code;
}

static int nothing_left(struct viv_raw_opts *raw, struct viv_err *err)
{
    const char *key, *value;

    if (!viv_raw_count(raw))
        return 0;
    viv_raw_at(raw, 0, &key, &value);
    return viv_fail(err, EINVAL, "Parameter '%.60s' is unexpected", key);
}

static int send_key(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    g_autofree char *hold = viv_raw_take(raw, "hold-time");
    struct chord k = {.hold_ms = 100};
    int rc = hold ? viv_parse_i64(hold, &k.hold_ms, err) : 0;

    if (!rc && (k.hold_ms < 1 || k.hold_ms > 60000))
        rc = viv_fail(err, EINVAL, "hold-time: from 1 to 60000 ms");
    for (unsigned i = 0; !rc; i++) {
        g_autofree char *type = take(raw, "keys", i, "type"), *data = take(raw, "keys", i, "data");
        int code;

        if (!type && !data)
            break;
        code = key_value(type, data, err);
        rc = code < 0 ? code : add_key(&k, code, data, err);
    }
    if (!rc)
        rc = nothing_left(raw, err);
    if (!rc && !k.count)
        rc = viv_fail(err, EINVAL, "Parameter 'keys' is missing");
    return rc < 0 ? rc : send_chord(&k, err);
}

struct event {
    enum { EV_KEY, EV_BUTTON, EV_WHEEL, EV_REL, EV_ABS } kind;
    int what; /* key, button, axis */
    int value;
};

static int parse_int(const char *text, int64_t min, int64_t max, int *out, struct viv_err *err)
{
    int64_t v;
    int rc = text ? viv_parse_i64(text, &v, err) : viv_fail(err, EINVAL, "an event's value is missing");

    if (rc < 0)
        return rc;
    if (v < min || v > max)
        return viv_fail(err, ERANGE, "%lld is not from %lld to %lld", (long long)v, (long long)min, (long long)max);
    *out = (int)v;
    return 0;
}

static int parse_button(const char *name, bool down, struct event *e, struct viv_err *err)
{
    static const char *const buttons[] = {"left", "middle", "right", "side", "extra"};
    static const char *const wheels[] = {"wheel-up", "wheel-down", "wheel-right", "wheel-left"};

    for (int i = 0; name && i < VIV_BUTTONS; i++) {
        if (!strcmp(name, buttons[i])) {
            *e = (struct event){EV_BUTTON, i, down};
            return 0;
        }
    }
    for (int i = 0; name && i < 4; i++) {
        if (!strcmp(name, wheels[i])) {
            *e = (struct event){EV_WHEEL, i, down};
            return 0;
        }
    }
    return viv_fail(err, EINVAL, "there is no button '%.40s'; there are left, middle, right, side, extra, wheel-up, wheel-down, "
                    "wheel-left, wheel-right", name ? name : "");
}

/* Takes event n out of `raw`. 1: there is none. */
static int take_event(struct viv_raw_opts *raw, unsigned n, struct event *e, struct viv_err *err)
{
    g_autofree char *type = take(raw, "events", n, "type"), *down = take(raw, "events", n, "data.down");
    g_autofree char *axis = take(raw, "events", n, "data.axis"), *value = take(raw, "events", n, "data.value");
    g_autofree char *button = take(raw, "events", n, "data.button"), *ktype = take(raw, "events", n, "data.key.type");
    g_autofree char *kdata = take(raw, "events", n, "data.key.data");
    bool is_down = false;
    int rc = 0;

    if (!type)
        return 1;
    if (!strcmp(type, "key") || !strcmp(type, "btn"))
        rc = down ? viv_parse_bool(down, &is_down, err) : viv_fail(err, EINVAL, "event %u: 'down' is missing", n);
    if (rc < 0)
        return rc;
    if (!strcmp(type, "btn"))
        return parse_button(button, is_down, e, err);
    if (!strcmp(type, "key")) {
        rc = key_value(ktype, kdata, err);
        *e = (struct event){EV_KEY, rc, is_down};
        return MIN(rc, 0);
    }
    if (strcmp(type, "rel") && strcmp(type, "abs"))
        return viv_fail(err, EINVAL, "event %u: type '%.40s' is not key, btn, rel or abs", n, type);
    if (!axis || (strcmp(axis, "x") && strcmp(axis, "y")))
        return viv_fail(err, EINVAL, "event %u: an axis is x or y", n);
    e->kind = *type == 'r' ? EV_REL : EV_ABS;
    e->what = *axis == 'y';
    return *type == 'r' ? parse_int(value, -32768, 32767, &e->value, err)
                        : parse_int(value, 0, VIV_INPUT_RANGE - 1, &e->value, err);
}

static void send_event(int console, const struct event *e)
{
    static const signed char wheel[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
    static unsigned at[2]; /* absolute: an axis that is not told stays */

    switch (e->kind) {
    case EV_KEY:
        viv_input_key((unsigned)e->what, e->value);
        break;
    case EV_BUTTON:
        viv_input_button(console, (enum viv_button)e->what, e->value);
        break;
    case EV_WHEEL:
        if (e->value)
            viv_input_wheel(console, wheel[e->what][0], wheel[e->what][1]);
        break;
    case EV_REL:
        viv_input_move(console, e->what ? 0 : e->value, e->what ? e->value : 0);
        break;
    case EV_ABS:
        at[e->what] = (unsigned)e->value;
        viv_input_place(console, at[0], at[1], VIV_INPUT_RANGE, VIV_INPUT_RANGE);
        break;
    }
}

/* All or nothing: a list with a mistake sends no event. */
static int input_send_event(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    g_autofree char *device = viv_raw_take(raw, "device"), *head = viv_raw_take(raw, "head");
    g_autoptr(GArray) events = g_array_new(FALSE, FALSE, sizeof(struct event));
    struct viv_console *c = NULL;
    struct event e = {0};
    int rc = 0, number = 0;

    if (head)
        rc = parse_int(head, 0, 63, &number, err);
    if (!rc && device)
        rc = find_console(device, number, &c, err);
    for (unsigned i = 0; !rc; i++) {
        rc = i < 256 ? take_event(raw, i, &e, err) : viv_fail(err, E2BIG, "256 events at a time at most");
        if (!rc)
            g_array_append_val(events, e);
    }
    if (rc > 0)
        rc = nothing_left(raw, err);
    if (rc < 0)
        return rc;
    number = c ? (int)viv_console_number(c) : -1;
    for (guint i = 0; i < events->len; i++)
        send_event(number, &g_array_index(events, struct event, i));
    viv_input_sync(number);
    return 0;
}

/* --- pointers --- */

static const struct viv_opt_def mouse_move_args[] = {
    {.name = "dx", .type = VIV_OPT_INT, .min = -32768, .max = 32767, .required = true},
    {.name = "dy", .type = VIV_OPT_INT, .min = -32768, .max = 32767, .required = true},
    {.name = "dz", .type = VIV_OPT_INT, .min = -128, .max = 127, .help = "wheel"},
    VIV_OPT_END,
};

COMMAND(mouse_move)
{
    viv_input_move(-1, (int)viv_opts_int(o, "dx"), (int)viv_opts_int(o, "dy"));
    viv_input_wheel(-1, (int)viv_opts_int(o, "dz"), 0);
    viv_input_sync(-1);
    return 0;
}

static const struct viv_opt_def mouse_button_args[] = {
    {.name = "state", .type = VIV_OPT_INT, .min = 0, .max = 7, .required = true, .help = "1 left, 2 middle, 4 right"},
    VIV_OPT_END,
};

COMMAND(mouse_button)
{
    int64_t state = viv_opts_int(o, "state");

    for (int b = VIV_BUTTON_LEFT; b <= VIV_BUTTON_RIGHT; b++)
        viv_input_button(-1, (enum viv_button)b, state >> b & 1);
    viv_input_sync(-1);
    return 0;
}

static const struct viv_opt_def mouse_set_args[] = {
    {.name = "index", .type = VIV_OPT_INT, .min = 0, .max = 255, .required = true, .help = "as info mice has it"},
    VIV_OPT_END,
};

COMMAND(mouse_set)
{
    int64_t n = viv_opts_int(o, "index");

    return viv_input_prefer_pointer((unsigned)n) ? 0 : viv_fail(err, ENODEV, "there is no pointer %lld", (long long)n);
}

COMMAND(query_mice)
{
    struct viv_input_pointer p;

    *result = json_array();
    for (unsigned n = 0; viv_input_pointer(n, &p); n++)
        json_array_append_new(*result, json_pack("{s:s, s:i, s:b, s:b}", "name", p.name, "index", (int)p.index, "current",
                                                 p.current, "absolute", p.absolute));
    return 0;
}

static void show_mice(const json_t *r, GString *out)
{
    size_t i;
    json_t *m;

    if (!json_array_size(r))
        g_string_append(out, "No mouse devices connected\n");
    json_array_foreach((json_t *)r, i, m)
        g_string_append_printf(out, "%s Mouse #%d: %s%s\n", json_is_true(json_object_get(m, "current")) ? "*" : " ",
                               (int)json_integer_value(json_object_get(m, "index")),
                               json_string_value(json_object_get(m, "name")),
                               json_is_true(json_object_get(m, "absolute")) ? " (absolute)" : "");
}

COMMAND(query_display)
{
    const struct viv_display_facts *f = viv_display_facts();

    *result = json_pack("{s:s}", "type", f->kind);
    if (strcmp(f->kind, "none"))
        json_object_update_new(*result, json_pack("{s:b, s:b}", "full-screen", f->full_screen, "window-close", f->window_close));
    return 0;
}

const struct viv_mon_cmd viv_mon_screen[] = {
    {"screendump", "screendump", "filename:file [device [head]] [-f format]", screendump_args, "write the screen's picture to a file",
     screendump},
    {"sendkey", NULL, "keys:keys [hold-time]", sendkey_args, "press keys together: sendkey ctrl-alt-f1", sendkey},
    {.qmp = "send-key", .help = "press keys together", .raw = send_key, .takes = "SendKeyArguments"},
    {.qmp = "input-send-event", .help = "keys, buttons, motion", .raw = input_send_event, .takes = "InputSendEventArguments"},
    {"mouse_move", NULL, "dx dy [dz]", mouse_move_args, "move the mouse", mouse_move},
    {"mouse_button", NULL, "state", mouse_button_args, "press mouse buttons (1 left, 2 middle, 4 right)", mouse_button},
    {"mouse_set", NULL, "index", mouse_set_args, "choose which pointer gets events", mouse_set},
    {"info screen", "x-query-screen", "[device [head]]", screen_args, "show the characters of a text mode or a text console", query_screen,
     show_screen, .returns = "HumanReadableText"},
    {NULL, "query-display-options", NULL, NULL, "what -display is", query_display, .returns = "DisplayOptions"},
    {"info mice", "query-mice", NULL, NULL, "show the pointers", query_mice, show_mice, .returns = "[MouseInfo]"},
    {0},
};
