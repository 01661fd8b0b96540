/* Keys added to and erased from a LUKS1 header.
 *
 * Adding: key material, then salt and iterations of the slot, barrier; "active", barrier. Erasing: "inactive", barrier; salt and
 * iterations gone (without its salt key material is worth nothing), barrier; material overwritten, barrier. A cut leaves a slot either as it was or
 * inactive; the other slots are not touched. */
#include "block/crypt/luks_int.h"

#include "crypto/secret.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

const char *const viv_luks_state_values[] = {"active", "inactive", NULL};

/* What was asked for; NULL or -1: not given. */
struct asked {
    const char *state, *new_secret, *old_secret;
    int slot;
    int64_t iter_ms;
};

static bool key_of(struct viv_opts *o, const char *prefix, const char *name, char out[64])
{
    g_snprintf(out, 64, "%s%s", prefix, name);
    return viv_opts_given(o, out);
}

static int read_asked(struct viv_opts *o, const char *prefix, struct asked *a, struct viv_err *err)
{
    char key[64];

    *a = (struct asked){.slot = -1, .iter_ms = -1};
    if (key_of(o, prefix, "state", key))
        a->state = viv_opts_str(o, key);
    if (key_of(o, prefix, "new-secret", key))
        a->new_secret = viv_opts_str(o, key);
    if (key_of(o, prefix, "old-secret", key))
        a->old_secret = viv_opts_str(o, key);
    if (key_of(o, prefix, "iter-time", key))
        a->iter_ms = viv_opts_int(o, key);
    if (key_of(o, prefix, "keyslot", key)) {
        int64_t slot = viv_opts_int(o, key);

        if (slot < 0 || slot >= LUKS_SLOTS)
            return viv_fail(err, EINVAL, "Invalid keyslot %" PRId64 " specified, must be between 0 and %d", slot, LUKS_SLOTS - 1);
        a->slot = slot;
    }
    if (!a->state)
        return viv_fail(err, EINVAL, "Parameter '%sstate' is missing: active adds a key, inactive erases", prefix);
    return 0;
}

static unsigned count_active(const struct viv_luks *l)
{
    unsigned n = 0;

    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        n += l->slot[i].active;
    return n;
}

static int set_active(struct viv_luks *l, unsigned slot, bool active)
{
    int ret;

    l->slot[slot].active = active;
    ret = luks_write_active(l, slot);
    return ret ? ret : viv_node_flush(l->file);
}

static int erase_slot(struct viv_luks *l, unsigned slot)
{
    int ret = set_active(l, slot, false);

    l->slot[slot].iterations = 0;
    memset(l->slot[slot].salt, 0, LUKS_SALT);
    if (!ret)
        ret = luks_write_slot(l, slot);
    if (!ret)
        ret = viv_node_flush(l->file);
    if (!ret)
        ret = luks_wipe_material(l, slot);
    return ret ? ret : viv_node_flush(l->file);
}

static int fill_slot(struct viv_luks *l, unsigned slot, const char *password, uint64_t iter_ms)
{
    int ret = l->slot[slot].active ? set_active(l, slot, false) : 0;

    if (!ret)
        ret = luks_write_material(l, slot, password, iter_ms);
    if (!ret)
        ret = luks_write_slot(l, slot);
    if (!ret)
        ret = viv_node_flush(l->file);
    return ret ? ret : set_active(l, slot, true);
}

/* --- state=active --- */

static int choose_slot(const struct viv_luks *l, int slot, bool force, unsigned *out, struct viv_err *err)
{
    if (slot >= 0 && l->slot[slot].active && !force)
        return viv_fail(err, EINVAL, "Refusing to overwrite active keyslot %d - please erase it first (or --force)", slot);
    for (unsigned i = 0; slot < 0 && i < LUKS_SLOTS; i++)
        if (!l->slot[i].active)
            slot = i;
    if (slot < 0)
        return viv_fail(err, ENOSPC, "Can't add a keyslot - all keyslots are in use: erase one first");
    *out = slot;
    return 0;
}

static int activate(struct viv_luks *l, const struct asked *a, bool force, struct viv_err *err)
{
    uint64_t iter_ms = a->iter_ms < 0 ? LUKS_ITERATE_MS : a->iter_ms;
    char *password = NULL;
    unsigned slot = 0;
    int ret;

    if (!a->new_secret)
        return viv_fail(err, EINVAL, "'new-secret' is required to activate a keyslot");
    if (a->old_secret)
        return viv_fail(err, EINVAL, "'old-secret' must not be given when activating keyslots");
    if (!l->unlocked)
        return viv_fail(err, ENOKEY, "'%s' is open without its key: a password cannot be added", l->file->filename);
    ret = choose_slot(l, a->slot, force, &slot, err);
    if (!ret)
        ret = viv_secret_get_text(a->new_secret, &password, err);
    if (ret)
        return ret;
    ret = fill_slot(l, slot, password, iter_ms);
    viv_secret_free_text(password);
    return ret ? viv_fail_os(err, -ret, "Could not write keyslot %u of '%s'", slot, l->file->filename) : 0;
}

/* --- state=inactive --- */

/* Sets the bits of the slots that the password opens. */
static int match(const struct viv_luks *l, const char *secret, int only, unsigned *slots, struct viv_err *err)
{
    uint8_t key[VIV_CIPHER_KEY_MAX];
    char *password;
    int ret = viv_secret_get_text(secret, &password, err);

    if (ret)
        return ret;
    *slots = 0;
    for (unsigned i = 0; i < LUKS_SLOTS && !ret; i++) {
        if (!l->slot[i].active || (only >= 0 && only != (int)i))
            continue;
        ret = luks_try_slot(l, i, password, key);
        if (!ret)
            *slots |= 1u << i;
        else if (ret == -EACCES)
            ret = 0;
        else
            viv_fail_os(err, -ret, "Could not read keyslot %u of '%s'", i, l->file->filename);
    }
    explicit_bzero(key, sizeof(key));
    viv_secret_free_text(password);
    return ret;
}

static int choose_erased(const struct viv_luks *l, const struct asked *a, bool force, unsigned *slots, struct viv_err *err)
{
    int ret = 0;

    if (a->slot < 0 && !a->old_secret)
        return viv_fail(err, EINVAL, "To erase keyslot(s), either explicit keyslot index or the password currently contained in "
                        "them must be given");
    if (a->slot >= 0 && !l->slot[a->slot].active && !force)
        return viv_fail(err, EINVAL, "Given keyslot %d is already erased (inactive)", a->slot);
    if (a->old_secret)
        ret = match(l, a->old_secret, a->slot, slots, err);
    else
        *slots = 1u << a->slot;
    if (ret)
        return ret;
    if (!*slots && a->slot >= 0)
        return viv_fail(err, EINVAL, "Given keyslot %d doesn't contain the given old password for erase operation", a->slot);
    if (!*slots)
        return viv_fail(err, EINVAL, "No keyslots match given (old) password for erase operation");
    if (force || __builtin_popcount(*slots) < (int)count_active(l))
        return 0;
    if (a->slot >= 0)
        return viv_fail(err, EINVAL, "Attempt to erase the only active keyslot %d which will erase all the data in the image "
                        "irreversibly - refusing operation", a->slot);
    return viv_fail(err, EINVAL, "All the active keyslots match the (old) password that was given and erasing them will erase all "
                    "the data in the image irreversibly - refusing operation");
}

static int deactivate(struct viv_luks *l, const struct asked *a, bool force, struct viv_err *err)
{
    unsigned slots = 0;
    int ret;

    if (a->new_secret)
        return viv_fail(err, EINVAL, "'new-secret' must not be given when erasing keyslots");
    if (a->iter_ms >= 0)
        return viv_fail(err, EINVAL, "'iter-time' must not be given when erasing keyslots");
    ret = choose_erased(l, a, force, &slots, err);
    for (unsigned i = 0; i < LUKS_SLOTS && !ret; i++) {
        if (!(slots & 1u << i))
            continue;
        ret = erase_slot(l, i);
        if (ret)
            viv_fail_os(err, -ret, "Could not erase keyslot %u of '%s'", i, l->file->filename);
    }
    return ret;
}

int viv_luks_amend(struct viv_luks *l, struct viv_opts *o, const char *prefix, bool force, struct viv_err *err)
{
    struct asked a;
    int ret = read_asked(o, prefix, &a, err);

    if (ret)
        return ret;
    return strcmp(a.state, "active") == 0 ? activate(l, &a, force, err) : deactivate(l, &a, force, err);
}
