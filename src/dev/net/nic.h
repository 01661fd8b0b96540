/* What network cards have in common: a back end by netdev=, its state inside the card's, a place in the boot order. */
#ifndef VIV_DEV_NET_NIC_H
#define VIV_DEV_NET_NIC_H

#include "bus/pci.h"
#include "net/net.h"

enum { NIC_MIN_FRAME = 60, NIC_VLAN = 0x8100 };

/* netdev= of `opts` to the card; without one a warning, and *out is NULL. */
int nic_take_backend(struct viv_opts *opts, const struct viv_nic_ops *ops, void *nic, struct viv_netdev **out,
                     struct viv_err *err);
void nic_save_backend(struct viv_state_writer *w, struct viv_netdev *n);
int nic_load_backend(struct viv_state_reader *r, struct viv_netdev *n, struct viv_err *err);

/* The part of a PCI card: everything but the chip. */
struct nic {
    struct viv_netdev *netdev; /* NULL: no cable */
    uint8_t mac[6];            /* the address in its EEPROM */
    char *fw_path;             /* in the boot order; NULL: not */
};

extern const struct viv_state_table nic_state; /* VIV_F_STRUCT(my_card, nic, nic_state) */

/* After viv_pci_dev_init; on failure nothing is left behind. */
int nic_init(struct nic *n, struct viv_pci_dev *d, struct viv_opts *opts, const struct viv_nic_ops *ops, struct viv_err *err);
void nic_fini(struct nic *n, struct viv_pci_dev *d);

#define NIC_PROPS                                                                                       \
    {.name = "netdev", .type = VIV_OPT_STR, .help = "id of a -netdev"},                                 \
    {.name = "mac", .type = VIV_OPT_STR, .help = "address (default: made from the VM's uuid, name or disks)"}, \
    {.name = "bootindex", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX, .help = "place in the boot order"}

#endif
