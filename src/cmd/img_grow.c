/* viv-img grow: a larger disk, and the partition table and last partition with it.
 *
 * The file system is left to the guest: nothing outside can grow it without either copying it or a tool that a cut would
 * leave in the middle; the guest's own tools do it while it is mounted. So what is to be run there is said. */
#include "cmd/img.h"
#include "cmd/img_parts.h"

#include <errno.h>
#include <string.h>

struct args {
    struct img_common common;
    const char *path, *size;
};

static int take(void *args, int c)
{
    (void)args;
    (void)c;
    return 1; /* there are none */
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hf:q", .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (argc - optind != 2)
        return 1 + img_usage("Expecting image file name and size (+10G: 10 GiB more; 50G: 50 GiB in all)");
    a->path = argv[optind];
    a->size = argv[optind + 1];
    return 0;
}

/* What is to be run in the guest; '@' stands for the device. */
static const char *advice(const char *content)
{
    static const struct {
        const char *content, *text;
    } all[] = {
        {"ext4", "resize2fs /dev/@"},
        {"xfs", "xfs_growfs MOUNTPOINT (of /dev/@)"},
        {"btrfs", "btrfs filesystem resize max MOUNTPOINT (of /dev/@)"},
        {"NTFS", "diskpart, 'select volume LETTER', 'extend filesystem'"},
        {"LVM", "pvresize /dev/@, then lvextend -r -l +100%FREE VG/LV"},
        {"LUKS", "cryptsetup resize NAME (opened from /dev/@), then grow what is in it"},
        {"swap", "swapoff /dev/@; mkswap /dev/@; swapon /dev/@"},
    };

    for (unsigned i = 0; content && i < G_N_ELEMENTS(all); i++)
        if (strcmp(content, all[i].content) == 0)
            return all[i].text;
    return NULL;
}

/* On a virtio disk, the first one: as most guests will see it. */
static void advise(struct viv_node *n, const struct parts *p)
{
    const struct parts_last *l = &p->last;
    const char *content = l->number ? parts_content(n, l->start, l->len) : parts_content(n, 0, viv_node_size(n));
    const char *text = advice(content);
    g_autofree char *device = l->number ? g_strdup_printf("vda%u", l->number) : g_strdup("vda");
    g_auto(GStrv) word = g_strsplit(text ? text : "", "@", -1);
    g_autofree char *command = g_strjoinv(device, word);

    if (text)
        printf("It holds %s, which grows in the guest (here with a virtio disk): %s\n", content, command);
    else
        printf("It holds no file system that is known here: what does grow there, grows in the guest.\n");
}

static void report(struct viv_node *n, const struct parts *p)
{
    const struct parts_last *l = &p->last;
    const char *table = p->kind == PARTS_GPT ? "GPT" : "MBR";
    char from[32], to[32];

    viv_size_text(l->len, from, sizeof(from));
    viv_size_text(l->new_len, to, sizeof(to));
    printf("Image resized.\n");
    if (p->kind == PARTS_NONE)
        printf("There is no partition table.\n");
    else if (!l->number)
        printf("The %s has no partition.\n", table);
    else if (l->left_because)
        printf("Partition %u of the %s keeps its %s: %s.\n", l->number, table, from, l->left_because);
    else
        printf("Partition %u of the %s: %s before, %s now.\n", l->number, table, from, to);
    if (p->kind == PARTS_NONE || (l->number && l->new_len > l->len))
        advise(n, p);
}

static int grow(const struct args *a, struct viv_node *n, struct viv_err *err)
{
    uint64_t old = viv_node_size(n), size = old;
    struct parts p;
    int ret = img_new_size(a->size, old, &size, err);

    if (ret)
        return ret;
    if (size <= old)
        return viv_fail(err, EINVAL, "grow only makes larger: the disk has %" G_GUINT64_FORMAT " bytes already ('viv-img resize "
                        "--shrink' makes smaller, and cuts off)", old);
    ret = parts_read(n, &p, err);
    if (!ret)
        ret = viv_node_truncate(n, size, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = parts_grow(n, &p, old, err);
    if (!ret && !a->common.quiet)
        report(n, &p);
    parts_fini(&p);
    return ret;
}

int img_grow(int argc, char **argv)
{
    struct args a = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    ret = img_open(&a.common, a.path, a.common.format, &a.common.o, &n, &err);
    if (!ret)
        ret = grow(&a, n, &err);
    ret = img_close(&n, ret, &err);
    return ret ? img_error("%s", err.text) : 0;
}
