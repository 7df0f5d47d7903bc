#!/usr/bin/env bash
# A real Slurm of one node on this machine, for the tests: mini_slurm.sh up FOLDER | down FOLDER
#
# Two GPU slots are counted and handed out, though no GPU is there. The node claims more processors and memory than the
# machine may have, so that the profile's own requests run unchanged; nothing holds a job to them. Runs as root, without
# systemd, control groups or accounting. Ports: MINI_SLURM_PORT and the next one.
set -euo pipefail

folder=$(readlink -m "${2:?usage: mini_slurm.sh up|down FOLDER}")
node=$(hostname -s)
port=${MINI_SLURM_PORT:-27617}
etc=/etc/slurm

# Snakemake's job step drops SLURM_* from its environment, so the clients have to find the configuration in its place.
claim_etc() {
    mkdir -p "$etc"
    for name in slurm.conf gres.conf; do
        if [ -e "$etc/$name" ]; then
            echo "$etc/$name exists: this machine belongs to a Slurm already" >&2
            exit 3
        fi
    done
    ln -s "$folder/slurm.conf" "$folder/gres.conf" "$etc/"
}

configure() {
    install -d -m 755 "$folder" "$folder/munge"
    install -d -m 700 "$folder/controller" "$folder/node"
    (umask 077 && dd if=/dev/urandom of="$folder/munge/key" bs=256 count=1 status=none)
    # Any two character devices that always exist will do: Slurm counts files, and hands out their numbers.
    echo "Name=gpu File=/dev/null,/dev/zero" >"$folder/gres.conf"
    {
        echo "ClusterName=tests"
        echo "SlurmctldHost=$node(127.0.0.1)"
        echo "SlurmctldPort=$port"
        echo "SlurmdPort=$((port + 1))"
        echo "SlurmUser=$(id -un)"
        echo "AuthType=auth/munge"
        echo "AuthInfo=socket=$folder/munge/socket"
        echo "StateSaveLocation=$folder/controller"
        echo "SlurmdSpoolDir=$folder/node"
        for daemon in Slurmctld Slurmd; do
            echo "${daemon}PidFile=$folder/${daemon,,}.pid"
            echo "${daemon}LogFile=$folder/${daemon,,}.log"
        done
        # What would want control groups, a database or a message-passing library is off.
        echo "ProctrackType=proctrack/linuxproc"
        echo "TaskPlugin=task/none"
        echo "JobAcctGatherType=jobacct_gather/none"
        echo "AccountingStorageType=accounting_storage/none"
        echo "MpiDefault=none"
        # One record per job that ended: the tests read when each ran and what it was given.
        echo "JobCompType=jobcomp/filetxt"
        echo "JobCompLoc=$folder/jobs.log"
        # Jobs start at once, and squeue remembers them for an hour, in place of accounting.
        echo "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1"
        echo "MinJobAge=3600"
        echo "KillWait=2"
        echo "SelectType=select/cons_tres"
        echo "SelectTypeParameters=CR_CPU_Memory"
        echo "DefMemPerCPU=1000"
        echo "SlurmdParameters=config_overrides"
        echo "ReturnToService=2"
        echo "GresTypes=gpu"
        echo "NodeName=$node NodeAddr=127.0.0.1 CPUs=${MINI_SLURM_CPUS:-16} RealMemory=${MINI_SLURM_MB:-128000} Gres=gpu:2"
        echo "PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE"
    } >"$folder/slurm.conf"
}

launch() {
    munged --num-threads=2 --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
        --pid-file="$folder/munge.pid" --log-file="$folder/munge.log" --seed-file="$folder/munge/seed"
    slurmctld -c -f "$folder/slurm.conf"
    slurmd -f "$folder/slurm.conf"
    local deadline=$((SECONDS + 30))
    until [ "$(sinfo --noheader --format=%t 2>"$folder/sinfo.err")" = idle ]; do
        if ((SECONDS > deadline)); then
            echo "the node does not come up: $(tail -qn 3 "$folder"/*.log "$folder/sinfo.err")" >&2
            exit 1
        fi
        sleep 0.2
    done
}

# End the process that a pid file names, and wait until it is gone.
end() {
    local pid
    [ -s "$1" ] || return 0
    pid=$(<"$1")
    kill -TERM "$pid" 2>/dev/null || return 0
    for ((tick = 0; tick < 75; tick++)); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.2
    done
    kill -KILL "$pid" 2>/dev/null || true
}

down() {
    if [ -e "$folder/slurmctld.pid" ]; then
        timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
    fi
    for pidfile in slurmd slurmctld munge; do
        end "$folder/$pidfile.pid"
    done
    for name in slurm.conf gres.conf; do
        if [ "$(readlink "$etc/$name")" = "$folder/$name" ]; then
            rm "$etc/$name"
        fi
    done
}

case $1 in
    up)
        claim_etc
        trap down ERR EXIT
        configure
        launch
        trap - ERR EXIT
        ;;
    down) down ;;
    *) echo "usage: mini_slurm.sh up|down FOLDER" >&2 && exit 2 ;;
esac
