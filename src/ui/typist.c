/* Who types keysyms (keymap.h). */
#include "ui/keymap.h"

#include "host/clock.h"
#include "ui/input.h"

#include <glib.h>
#include <linux/input-event-codes.h>

#define HELD_MOST 128
#define BUSY_NS   1000000000

struct held {
    uint64_t who;
    uint32_t keysym; /* 0: pressed by its code */
    unsigned code;
};

struct viv_typist {
    const struct viv_keymap *map;
    GArray *held; /* struct held */
    bool num, num_known; /* a num lock that we have pressed, until LEDs tell */
    unsigned leds;
    int64_t busy_since; /* 0: the guest reads its keys */
};

struct viv_typist *viv_typist_new(const struct viv_keymap *m)
{
    struct viv_typist *t = g_new0(struct viv_typist, 1);

    t->map = m;
    t->held = g_array_new(FALSE, FALSE, sizeof(struct held));
    return t;
}

void viv_typist_free(struct viv_typist *t)
{
    if (!t)
        return;
    g_array_free(t->held, TRUE);
    g_free(t);
}

static bool is_held(const struct viv_typist *t, unsigned code)
{
    for (guint i = 0; i < t->held->len; i++) {
        if (g_array_index(t->held, struct held, i).code == code)
            return true;
    }
    return false;
}

static unsigned state_now(struct viv_typist *t)
{
    unsigned leds = viv_input_leds(), s = 0;

    if (leds != t->leds)
        t->num_known = false;
    t->leds = leds;
    s |= is_held(t, KEY_LEFTSHIFT) || is_held(t, KEY_RIGHTSHIFT) ? VIV_KEYMAP_SHIFT : 0;
    s |= is_held(t, KEY_RIGHTALT) ? VIV_KEYMAP_ALTGR : 0;
    s |= leds & VIV_LED_CAPS ? VIV_KEYMAP_CAPS : 0;
    s |= (t->num_known ? t->num : leds & VIV_LED_NUM) ? VIV_KEYMAP_NUM : 0;
    return s;
}

static void tap(unsigned code)
{
    viv_input_key(code, true);
    viv_input_key(code, false);
}

/* Brings a modifier into its state, or back. Both shifts are one. */
static void set_modifier(const struct viv_typist *t, unsigned code, unsigned twin, bool down)
{
    if (!is_held(t, code) && !(twin && is_held(t, twin))) {
        viv_input_key(code, down);
        return;
    }
    if (is_held(t, code))
        viv_input_key(code, down);
    if (twin && is_held(t, twin))
        viv_input_key(twin, down);
}

/* The key goes down with the modifiers that it needs, which are then as they were. */
static void press(struct viv_typist *t, const struct viv_stroke *k, bool stay)
{
    unsigned state = state_now(t), diff = state ^ k->state;

    if (diff & VIV_KEYMAP_NUM) {
        tap(KEY_NUMLOCK);
        t->num = k->state & VIV_KEYMAP_NUM;
        t->num_known = true;
    }
    if (diff & VIV_KEYMAP_SHIFT)
        set_modifier(t, KEY_LEFTSHIFT, KEY_RIGHTSHIFT, k->state & VIV_KEYMAP_SHIFT);
    if (diff & VIV_KEYMAP_ALTGR)
        set_modifier(t, KEY_RIGHTALT, 0, k->state & VIV_KEYMAP_ALTGR);
    viv_input_key(k->code, true);
    if (!stay)
        viv_input_key(k->code, false);
    if (diff & VIV_KEYMAP_ALTGR)
        set_modifier(t, KEY_RIGHTALT, 0, state & VIV_KEYMAP_ALTGR);
    if (diff & VIV_KEYMAP_SHIFT)
        set_modifier(t, KEY_LEFTSHIFT, KEY_RIGHTSHIFT, state & VIV_KEYMAP_SHIFT);
}

static struct held *find_held(struct viv_typist *t, uint64_t who, uint32_t keysym, unsigned code)
{
    for (guint i = 0; i < t->held->len; i++) {
        struct held *h = &g_array_index(t->held, struct held, i);

        if (h->who == who && (keysym ? h->keysym == keysym : h->code == code))
            return h;
    }
    return NULL;
}

static void let_go(struct viv_typist *t, struct held *h)
{
    unsigned code = h->code;

    g_array_remove_index_fast(t->held, (guint)(h - (struct held *)t->held->data));
    if (!is_held(t, code)) /* by somebody else */
        viv_input_key(code, false);
}

/* A key that is known by what it means now: 'A' was pressed, shift went up, 'a' comes up. */
static struct held *find_renamed(struct viv_typist *t, uint64_t who, uint32_t keysym)
{
    struct viv_stroke k[2];
    unsigned n = viv_keymap_find(t->map, keysym, state_now(t), k);

    return n ? find_held(t, who, 0, k[n - 1].code) : NULL;
}

bool viv_typist_keysym(struct viv_typist *t, uint64_t who, uint32_t keysym, bool down)
{
    struct held *h = keysym ? find_held(t, who, keysym, 0) : NULL, add = {.who = who, .keysym = keysym};
    struct viv_stroke k[2];
    unsigned n;

    if (!t->map || !keysym)
        return false;
    if (!down) {
        if (!h)
            h = find_renamed(t, who, keysym);
        if (h)
            let_go(t, h);
        return h;
    }
    if (h) { /* again: it repeats */
        viv_input_key(h->code, true);
        return true;
    }
    n = viv_keymap_find(t->map, keysym, state_now(t), k);
    if (!n || t->held->len >= HELD_MOST)
        return n;
    if (n == 2)
        press(t, &k[0], false);
    press(t, &k[n - 1], true);
    add.code = k[n - 1].code;
    g_array_append_val(t->held, add);
    return true;
}

void viv_typist_code(struct viv_typist *t, uint64_t who, unsigned code, bool down)
{
    struct held *h = find_held(t, who, 0, code), add = {.who = who, .code = code};

    if (!down) {
        if (h)
            let_go(t, h);
        return;
    }
    if (!h && t->held->len >= HELD_MOST)
        return;
    if (!h)
        g_array_append_val(t->held, add);
    viv_input_key(code, true);
}

void viv_typist_key(struct viv_typist *t, uint64_t who, int code, uint32_t keysym, bool meaning, bool down)
{
    if (code >= 0 && !meaning)
        viv_typist_code(t, who, (unsigned)code, down);
    else if (!viv_typist_keysym(t, who, keysym, down) && code >= 0)
        viv_typist_code(t, who, (unsigned)code, down);
}

bool viv_typist_waits(struct viv_typist *t)
{
    int64_t now = viv_clock_ns(VIV_CLOCK_HOST);

    if (!viv_input_busy()) {
        t->busy_since = 0;
        return false;
    }
    if (!t->busy_since)
        t->busy_since = now;
    return now - t->busy_since <= BUSY_NS;
}

void viv_typist_leave(struct viv_typist *t, uint64_t who)
{
    for (guint i = t->held->len; i-- > 0;) {
        if (g_array_index(t->held, struct held, i).who == who)
            let_go(t, &g_array_index(t->held, struct held, i));
    }
}
