#!/bin/bash
# A Slurm cluster of two real hosts on this machine, for the time of one command:
#   tests/slurm/cluster.sh run COMMAND...   builds it, runs COMMAND on its login host, takes it down
# and for COMMAND itself:
#   tests/slurm/cluster.sh on HOST COMMAND...     runs on a host: ctl (login), n1, n2
#   tests/slurm/cluster.sh link HOST up|down      its network cable, in or out
#   tests/slurm/cluster.sh bytes HOST             bytes that the host has sent over its cable
# A host is a network, a UTS, a mount and a PID namespace: it has its own name, address, /tmp and
# /dev/shm and shares the rest of the file system, as hosts with a common home do. All of it lives
# inside an outer set of namespaces whose first process is this script: when that ends, however it
# ends, the kernel takes processes, mounts and devices away. Nothing outside is touched, and
# several clusters may run side by side.
# Exit code 77, with the reason, where this machine cannot do it.
set -uo pipefail

HOSTS=(n1 n2)
CPUS=2                # of each host; jobs that bind need as many real ones
PART=/run/axl-cluster # on a tmpfs that only the cluster sees
NETWORK=10.77.0
TOP=$(cd "$(dirname "$0")/../.." && pwd) # the checkout: all hosts see it

skip() {
    echo "skipped: $1"
    exit 77
}

check_machine() {
    local program
    export PATH=$PATH:/usr/sbin:/sbin
    [ "$(uname -s)" = Linux ] || skip "namespaces need Linux"
    [ "$(id -u)" = 0 ] || skip "only root can make hosts out of namespaces"
    for program in slurmctld slurmd srun sbatch munged; do
        command -v $program >/dev/null || skip "$program is missing: apt-get install slurm-wlm munge"
    done
    for program in ip unshare nsenter; do
        command -v $program >/dev/null || skip "$program is missing: apt-get install iproute2 util-linux"
    done
    [ "$(nproc)" -ge $CPUS ] || skip "two ranks a host, bound to cores, need two cores"
    unshare --mount --net --uts --ipc --pid --fork true 2>/dev/null ||
        skip "this container may not make namespaces"
    unshare --net bash -c 'ip link add bridge0 type bridge && ip link add v0 type veth peer name v1' 2>/dev/null ||
        skip "the kernel has no bridge or no veth"
}

write_config() {
    cat >$PART/slurm.conf <<CONF
ClusterName=axl
SlurmctldHost=ctl($NETWORK.1)
AuthType=auth/munge
AuthInfo=socket=$PART/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile=$PART/slurmctld.pid
SlurmdPidFile=$PART/slurmd-%n.pid
StateSaveLocation=$PART/state
SlurmdSpoolDir=$PART/spool-%n
SlurmctldLogFile=$PART/slurmctld.log
SlurmdLogFile=$PART/slurmd-%n.log
SlurmctldDebug=debug2
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
MessageTimeout=60
SlurmdParameters=config_overrides
KillWait=5
NodeName=n1 NodeAddr=$NETWORK.11 CPUs=$CPUS State=UNKNOWN
NodeName=n2 NodeAddr=$NETWORK.12 CPUs=$CPUS State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP
CONF
    printf '127.0.0.1 localhost\n%s.1 ctl\n%s.11 n1\n%s.12 n2\n' $NETWORK $NETWORK $NETWORK >$PART/hosts
}

# As on any machine with Docker: a network of the same address on every host that leads nowhere. It is
# the first in the host's list.
add_docker() {
    ip -n "$1" link add docker0 type bridge && ip -n "$1" addr add 172.17.0.1/16 dev docker0 &&
        ip -n "$1" link set docker0 up
}

make_network() {
    local i=11 host
    ip link set lo up &&
        ip link add bridge0 type bridge && ip addr add $NETWORK.1/24 dev bridge0 && ip link set bridge0 up ||
        return 1
    for host in "${HOSTS[@]}"; do
        ip netns add "$host" && add_docker "$host" &&
            ip link add "cable-$host" type veth peer name eth0 netns "$host" &&
            ip link set "cable-$host" master bridge0 up &&
            ip -n "$host" addr add $NETWORK.$i/24 dev eth0 &&
            ip -n "$host" link set lo up && ip -n "$host" link set eth0 up || return 1
        i=$((i + 1))
    done
}

# Not ip netns exec: it hides /sys/fs/cgroup, and slurmd does not start without. A host that shared
# /dev/shm or its name with another would be taken by Open MPI for the same machine.
start_host() {
    nsenter --net=/run/netns/"$1" unshare --uts --mount --pid --fork --kill-child --mount-proc \
        "${BASH_SOURCE[0]}" host "$1" >"$PART/slurmd-$1.out" 2>&1 &
    echo $! >"$PART/pid-$1"
}

# The first process of a host.
host() {
    hostname "$1" && mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm || exit 1
    case $TOP in # it would be gone with the old /tmp
    /tmp/*) mkdir -p "$TOP" && mount --bind $PART/checkout "$TOP" || exit 1 ;;
    esac
    slurmd -D -N "$1" # no exec: somebody has to collect orphans
}

wait_until_up() {
    local end=$((SECONDS + 30))
    until [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = ${#HOSTS[@]} ]; do
        [ "$(jobs -pr | wc -l)" -gt ${#HOSTS[@]} ] && [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

print_logs() {
    local log
    for log in "$PART"/*.log; do
        echo "--- $log"
        grep -vE 'debug|Info:' "$log" | tail -n 8
    done >&2
}

build() {
    export SLURM_CONF=$PART/slurm.conf
    hostname ctl && mount -t tmpfs tmpfs /run && mkdir -p /run/netns $PART/state $PART/checkout &&
        mount --bind "$TOP" $PART/checkout || return 1
    write_config
    mount --bind $PART/hosts /etc/hosts && make_network || return 1
    head -c 128 /dev/urandom >$PART/munge.key && chmod 600 $PART/munge.key
    munged --force --key-file $PART/munge.key --socket $PART/munge.socket --pid-file $PART/munged.pid \
        --log-file $PART/munged.log --seed-file $PART/munged.seed || return 1
    slurmctld -D >$PART/slurmctld.out 2>&1 &
    start_host n1
    start_host n2
    wait_until_up
}

# The first process of the outer namespaces; its end is the end of them all.
inside() {
    trap 'exit 143' TERM
    trap 'exit 130' INT
    if ! build; then
        print_logs
        echo "cluster.sh: the cluster did not come up" >&2
        exit 1
    fi
    "$@"
    local status=$?
    [ $status = 0 ] || print_logs
    exit $status
}

# on HOST COMMAND...
on_host() {
    local host=$1
    shift
    if [ "$host" = ctl ]; then
        "$@"
    else
        nsenter --target "$(pgrep -P "$(cat "$PART/pid-$host")")" --net --uts --mount --pid "$@"
    fi
}

case ${1-} in
run)
    shift
    check_machine
    # exec: whoever kills this process kills the cluster with it
    exec unshare --mount --net --uts --ipc --pid --fork --kill-child --mount-proc \
        "${BASH_SOURCE[0]}" inside "$@"
    ;;
host) host "$2" ;;
inside) shift && inside "$@" ;;
on) shift && on_host "$@" ;;
link) ip link set "cable-$2" "$3" ;;
bytes) on_host "$2" ip -s link show eth0 | tail -n 1 | awk '{ print $1 }' ;;
*) sed -n '2,15s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
