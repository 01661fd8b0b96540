/* Keys and pointer: from the VNC thread to the devices. Events wait in the server's queue; the loop thread applies them in order,
 * keys with `key-delay-ms` between them, since keyboards hold few and guests read them slowly. A client whose events wait is not
 * read. */
#include "ui/vnc/vnc_int.h"

#include "base/log.h"
#include "host/clock.h"
#include "host/loop.h"
#include "ui/input.h"
#include "ui/keymap.h"

#include <string.h>

#define IN_FLIGHT 64 /* events of a client that wait */

struct vnc_typing {
    struct viv_keymap *map;
    struct viv_typist *typist;
    bool layout_named; /* -k: keysyms count more than raw keys */
    int64_t key_delay_ns;
    struct viv_timer *timer;
    GArray *hands; /* struct vnc_hand: of each client that has said something */
};

/* ---- VNC thread ---- */

static void nothing(void *unused)
{
}

static void serve_events(void *opaque);

void vnc_input_send(struct vnc_client *c, const struct vnc_event *event)
{
    struct vnc_server *s = c->server;
    struct vnc_event e = *event;
    bool call;

    e.client = c->number;
    pthread_mutex_lock(&s->lock);
    c->in_flight++;
    g_array_append_val(s->events, e);
    call = !s->events_called;
    s->events_called = true;
    pthread_mutex_unlock(&s->lock);
    if (call)
        viv_loop_call(serve_events, s);
}

bool vnc_input_full(struct vnc_client *c)
{
    bool full;

    pthread_mutex_lock(&c->server->lock);
    full = c->in_flight >= IN_FLIGHT;
    pthread_mutex_unlock(&c->server->lock);
    return full;
}

/* ---- loop thread ---- */

static bool take_event(struct vnc_server *s, struct vnc_event *e)
{
    bool any, woke = false;

    pthread_mutex_lock(&s->lock);
    any = s->events->len;
    s->events_called = any;
    if (any) {
        *e = g_array_index(s->events, struct vnc_event, 0);
        g_array_remove_index(s->events, 0);
        for (struct vnc_client *c = s->clients; c; c = c->next) {
            if (c->number == e->client)
                woke = c->in_flight-- == IN_FLIGHT;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (woke)
        vnc_post(nothing, NULL); /* it is read again */
    return any;
}

static struct vnc_hand *hand_of(struct vnc_typing *t, uint64_t client)
{
    struct vnc_hand fresh = {.client = client};

    for (guint i = 0; i < t->hands->len; i++) {
        struct vnc_hand *h = &g_array_index(t->hands, struct vnc_hand, i);

        if (h->client == client)
            return h;
    }
    g_array_append_val(t->hands, fresh);
    return &g_array_index(t->hands, struct vnc_hand, t->hands->len - 1);
}

/* A button of the guest's is down as long as anybody holds it. */
static unsigned held_by_all(const struct vnc_typing *t)
{
    unsigned buttons = 0;

    for (guint i = 0; i < t->hands->len; i++)
        buttons |= g_array_index(t->hands, struct vnc_hand, i).buttons;
    return buttons;
}

/* RFC 6143 section 7.5.5: the mask is of this client's buttons. */
static void apply_buttons(struct vnc_server *s, struct vnc_hand *hand, unsigned buttons)
{
    static const enum viv_button map[8] = {VIV_BUTTON_LEFT, VIV_BUTTON_MIDDLE, VIV_BUTTON_RIGHT, VIV_BUTTONS, VIV_BUTTONS, VIV_BUTTONS,
                                           VIV_BUTTONS, VIV_BUTTON_SIDE};
    static const signed char wheel[8][2] = {[3] = {1, 0}, [4] = {-1, 0}, [5] = {0, -1}, [6] = {0, 1}}; /* up and right */
    unsigned before = held_by_all(s->typing), clicks = buttons & ~hand->buttons, after;

    hand->buttons = buttons;
    after = held_by_all(s->typing);
    for (unsigned i = 0; i < 8; i++) {
        if (map[i] != VIV_BUTTONS && (before ^ after) >> i & 1)
            viv_input_button(s->console_number, map[i], after >> i & 1);
        else if (map[i] == VIV_BUTTONS && clicks >> i & 1)
            viv_input_wheel(s->console_number, wheel[i][0], wheel[i][1]);
    }
}

static void release_buttons(struct vnc_server *s, struct vnc_hand *hand)
{
    if (!hand->buttons)
        return;
    apply_buttons(s, hand, 0);
    viv_input_sync(s->console_number);
}

static void apply_pointer(struct vnc_server *s, const struct vnc_event *e)
{
    if (vnc_switch_pointer(s, e))
        return;
    if (!e->relative && viv_input_is_absolute(s->console_number))
        viv_input_place(s->console_number, (unsigned)e->x, (unsigned)e->y, e->width, e->height);
    else if (e->dx || e->dy)
        viv_input_move(s->console_number, e->dx, e->dy);
    apply_buttons(s, hand_of(s->typing, e->client), e->buttons);
    viv_input_sync(s->console_number);
}

static void apply_key(struct vnc_server *s, const struct vnc_event *e)
{
    struct vnc_typing *t = s->typing;

    if (!vnc_switch_key(s, hand_of(t, e->client), e))
        viv_typist_key(t->typist, e->client, e->code, e->keysym, t->layout_named, e->down);
}

/* The client hears what has become of its wish. */
struct room_reply {
    struct vnc_server *server;
    uint64_t client;
    unsigned status;
};

static void on_room_reply(void *opaque)
{
    struct room_reply *r = opaque;

    for (struct vnc_client *c = r->server->clients; c; c = c->next) {
        if (c->number == r->client) {
            c->due_ext_size = true;
            c->size_reason = 1;
            c->size_status = r->status;
        }
    }
    g_free(r);
}

static void apply_room(struct vnc_server *s, const struct vnc_event *e)
{
    struct room_reply *r = g_new0(struct room_reply, 1);
    bool told = s->console && viv_console_room(s->console, e->width, e->height);

    *r = (struct room_reply){s, e->client, told ? 4 : 1}; /* forwarded to the guest; prohibited */
    vnc_post(on_room_reply, r);
}

static void on_change(void *opaque);

void vnc_input_switched(struct vnc_server *s)
{
    GArray *hands = s->typing->hands;

    viv_input_release_all();
    for (guint i = 0; i < hands->len; i++)
        release_buttons(s, &g_array_index(hands, struct vnc_hand, i));
    on_change(s);
}

static void apply_gone(struct vnc_server *s, const struct vnc_event *e)
{
    struct vnc_typing *t = s->typing;
    struct vnc_hand *hand = hand_of(t, e->client);

    viv_typist_leave(t->typist, e->client);
    release_buttons(s, hand);
    g_array_remove_index_fast(t->hands, (guint)(hand - &g_array_index(t->hands, struct vnc_hand, 0)));
}

static bool waits_for_guest(struct vnc_typing *t)
{
    if (!viv_typist_waits(t->typist))
        return false;
    viv_timer_set(t->timer, viv_clock_ns(VIV_CLOCK_HOST) + MAX(t->key_delay_ns, 1000000));
    return true;
}

static void serve_events(void *opaque)
{
    struct vnc_server *s = opaque;
    struct vnc_event e;

    while (!waits_for_guest(s->typing) && take_event(s, &e)) {
        switch (e.kind) {
        case VNC_EV_KEY:
            apply_key(s, &e);
            if (s->typing->key_delay_ns) {
                viv_timer_set(s->typing->timer, viv_clock_ns(VIV_CLOCK_HOST) + s->typing->key_delay_ns);
                return;
            }
            break;
        case VNC_EV_POINTER:
            apply_pointer(s, &e);
            break;
        case VNC_EV_ROOM:
            apply_room(s, &e);
            break;
        case VNC_EV_GONE:
            apply_gone(s, &e);
            break;
        }
    }
}

/* LEDs, or another kind of pointer. */
static void on_change(void *opaque)
{
    struct vnc_server *s = opaque;

    pthread_mutex_lock(&s->lock);
    s->leds = viv_input_leds();
    s->absolute = viv_input_is_absolute(s->console_number);
    pthread_mutex_unlock(&s->lock);
    vnc_post(nothing, NULL);
}

int vnc_input_init(struct vnc_server *s, const char *layout, unsigned key_delay_ms, struct viv_err *err)
{
    struct vnc_typing *t = g_new0(struct vnc_typing, 1);
    struct viv_err why = VIV_ERR_INIT;
    int rc = viv_keymap_load(layout ? layout : "en-us", &t->map, layout ? err : &why);

    if (rc < 0 && layout) {
        g_free(t);
        return rc;
    }
    if (rc < 0)
        viv_warn("-vnc: %s; only clients that send raw keys (TigerVNC, noVNC) can type", why.text);
    t->typist = viv_typist_new(t->map);
    t->hands = g_array_new(FALSE, FALSE, sizeof(struct vnc_hand));
    t->layout_named = layout != NULL;
    t->key_delay_ns = (int64_t)key_delay_ms * 1000000;
    t->timer = viv_timer_new(VIV_CLOCK_HOST, serve_events, s);
    s->typing = t;
    s->watch = viv_input_watch(on_change, s);
    on_change(s);
    return 0;
}

void vnc_input_fini(struct vnc_server *s)
{
    viv_input_unwatch(s->watch);
    if (!s->typing)
        return;
    viv_timer_free(s->typing->timer);
    viv_typist_free(s->typing->typist);
    viv_keymap_free(s->typing->map);
    g_array_free(s->typing->hands, TRUE);
    g_clear_pointer(&s->typing, g_free);
}
