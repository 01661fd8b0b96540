/* The persistent reservation helper's two halves: the socket protocol, and SCSI commands to a device.
 *
 * The protocol is the one that qemu-pr-helper speaks (QEMU's interoperability manual, "Persistent reservation helper protocol"):
 * both sides send 32 bits of features, none so far; then a request is a CDB of 16 bytes with the device's descriptor beside it, and
 * for PERSISTENT RESERVE OUT the parameters; the answer is status, size of the data, 96 bytes of sense data, the data. Big endian. */
#ifndef VIV_CMD_PR_H
#define VIV_CMD_PR_H

#include <stddef.h>
#include <stdint.h>

#define PR_CDB   16
#define PR_SENSE 96
#define PR_DATA  8192

/* SPC-4: operation codes, status, sense keys. */
enum { PR_IN = 0x5e, PR_OUT = 0x5f };
enum { PR_GOOD = 0x00, PR_CHECK_CONDITION = 0x02 };

struct pr_command {
    uint8_t cdb[PR_CDB];
    int fd;
    uint8_t data[PR_DATA]; /* OUT: the parameters; IN: what came */
    size_t len;            /* OUT: of them; IN: of the room, then of what came */
    uint8_t status;
    uint8_t sense[PR_SENSE];
};

/* Fills status, sense, and data and len of PR IN. Blocking; any thread. */
typedef void pr_run_fn(struct pr_command *c);
pr_run_fn pr_run; /* by SG_IO */
/* Fixed-format sense data (SPC-4 4.5.3). */
void pr_set_sense(struct pr_command *c, uint8_t key, uint8_t asc, uint8_t ascq);

/* Serves one client until it goes or breaks the rules: 0 or what was wrong, as text. Closes no socket of its own. */
const char *pr_serve(int sock, pr_run_fn *run);

#endif
