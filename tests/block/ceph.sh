# For the scripts beside: a Ceph cluster of one monitor and one OSD that keeps everything in memory, as processes of whoever runs this, in
# the folder `ceph` below the scratch folder. Sourced behind functions.sh.
requires ceph ceph-mon ceph-osd ceph-authtool monmaptool rbd python3

# With a port that nobody has, and keys of its own: $ceph_port, $ceph_key (client.admin's).
ceph_config()
{
    ceph_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    ceph_fsid=$(cat /proc/sys/kernel/random/uuid)
    mkdir -p ceph/mon ceph/osd
    cat >ceph/ceph.conf <<END
[global]
fsid = $ceph_fsid
mon host = [v2:127.0.0.1:$ceph_port]
mon initial members = a
public addr = 127.0.0.1
keyring = $PWD/ceph/keyring
run dir = $PWD/ceph
admin socket = $PWD/ceph/\$name.asok
log file = $PWD/ceph/\$name.log
pid file = $PWD/ceph/\$name.pid
mon data = $PWD/ceph/mon
osd data = $PWD/ceph/osd
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
osd objectstore = memstore
memstore device bytes = 1073741824
client mount timeout = 30
END
    ceph-authtool -C -g -n mon. --cap mon 'allow *' ceph/keyring >/dev/null
    ceph-authtool -g -n client.admin --cap mon 'allow *' --cap osd 'allow *' ceph/keyring
    ceph-authtool -g -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' ceph/keyring
    ceph_key=$(ceph-authtool -p -n client.admin ceph/keyring)
    monmaptool --create --addv a "[v2:127.0.0.1:$ceph_port]" --fsid "$ceph_fsid" ceph/monmap >/dev/null
}

ceph_start()
{
    ceph_config
    CEPH_CONF=$PWD/ceph/ceph.conf
    export CEPH_CONF
    ceph-mon -i a --mkfs --monmap ceph/monmap --keyring ceph/keyring >ceph/out 2>&1 || { cat ceph/out; echo "skip: ceph-mon does not start here"; exit 77; }
    ceph-mon -i a -f >ceph/mon.out 2>&1 &
    cleanup_pids="$cleanup_pids $!"
    id=$(cat /proc/sys/kernel/random/uuid)
    timeout 60 ceph osd new "$id" >ceph/out 2>&1 || { cat ceph/out ceph/mon.out; echo "skip: no Ceph monitor here"; exit 77; }
    ceph-osd -i 0 --mkfs --osd-uuid "$id" >ceph/out 2>&1
    ceph-osd -i 0 -f >ceph/osd.out 2>&1 &
    cleanup_pids="$cleanup_pids $!"
    for _ in $(seq 60); do
        timeout 20 ceph osd stat 2>/dev/null | grep -q '1 up' && break
        sleep 0.5
    done
    timeout 60 ceph osd pool create "$1" 8 >ceph/out 2>&1 || { cat ceph/out ceph/osd.out; echo "skip: no Ceph OSD here"; exit 77; }
    timeout 60 rbd pool init "$1" >ceph/out 2>&1 || { cat ceph/out; echo "skip: no Ceph OSD here"; exit 77; }
}
