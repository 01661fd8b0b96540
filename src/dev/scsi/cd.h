/* A CD or DVD drive with a data disc (MMC-6): a SCSI target, also that behind ATAPI. */
#ifndef VIV_DEV_SCSI_CD_H
#define VIV_DEV_SCSI_CD_H

#include "dev/scsi/unit.h"

#define CD_SECTOR 2048

struct scsi_cd {
    struct scsi_unit unit;
    uint8_t event; /* of the medium, not yet told: MMC-6 6.6.2.5 */
};
extern const struct viv_state_table viv_scsi_cd_state;

/* VIV_FRONT_PROPS: may be empty. The caller plugs cd->unit.scsi with these ops after that. */
int scsi_cd_open(struct scsi_cd *cd, struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err);
void scsi_cd_close(struct scsi_cd *cd);
void scsi_cd_reset(struct scsi_cd *cd);
extern const struct viv_scsi_dev_ops scsi_cd_ops;

/* Sectors of the disc; 0: none is there. */
uint32_t scsi_cd_sectors(const struct scsi_cd *cd);
/* Too large for a CD: a DVD. */
bool scsi_cd_is_dvd(const struct scsi_cd *cd);

/* ---- cd_info.c: commands that tell about drive and disc ---- */
void scsi_cd_read_toc(struct scsi_cd *cd, struct viv_scsi_req *r);
void scsi_cd_get_configuration(struct scsi_cd *cd, struct viv_scsi_req *r);
void scsi_cd_get_event(struct scsi_cd *cd, struct viv_scsi_req *r);
void scsi_cd_disc_information(struct scsi_cd *cd, struct viv_scsi_req *r);
void scsi_cd_track_information(struct scsi_cd *cd, struct viv_scsi_req *r);
void scsi_cd_dvd_structure(struct scsi_cd *cd, struct viv_scsi_req *r);
void scsi_cd_mechanism_status(struct scsi_cd *cd, struct viv_scsi_req *r);
unsigned scsi_cd_mode_page(struct scsi_unit *u, uint8_t code, bool changeable, uint8_t *p);

#endif
