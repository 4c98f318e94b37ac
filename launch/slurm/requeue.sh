#!/bin/bash
# A run longer than the time limit: before the limit it saves, goes back into the queue, and goes on from there.
#   sbatch --nodes=4 launch/slurm/requeue.sh run.yaml [--key value ...]
#   LAUNCHER=mpirun sbatch --nodes=4 launch/slurm/requeue.sh run.yaml
# Also a job that is preempted or loses a node goes on from its last checkpoint (save_steps sets how old that is).
#SBATCH --job-name=axl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4      # ranks; one a socket or NUMA domain is a good start
#SBATCH --cpus-per-task=8        # cores of each rank, as Slurm counts them
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@300      # to this script, 300 to 360 s before the limit: time for one step and one save
#SBATCH --open-mode=append       # the job started again writes on in the same file
#SBATCH --output=%x-%j.log
set -u

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK # where Slurm counts hyper-threads: half of it
if [ "${LAUNCHER:-srun}" = srun ]; then
    export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # from Slurm 22.05 on, srun does not take it from sbatch
    start=(srun --mpi=pmix --cpu-bind=cores --wait=60)
else
    # A host that is lost: known to mpirun after 10 + 3 x 5 s, which must be less than heartbeat_timeout.
    : "${OMPI_MCA_oob_tcp_keepalive_time:=10}" "${OMPI_MCA_oob_tcp_keepalive_intvl:=5}"
    : "${OMPI_MCA_oob_tcp_keepalive_probes:=3}"
    export "${!OMPI_MCA_oob_tcp_keepalive_@}"
    start=(mpirun --map-by "ppr:$SLURM_NTASKS_PER_NODE:node:PE=$OMP_NUM_THREADS" --bind-to core)
fi

asked=no again=no
"${start[@]}" axl-dist "$@" --auto_resume_from_checkpoints true &
run=$!
trap 'asked=yes; kill -USR1 $run' USR1 # srun and mpirun pass it on to every rank
wait $run
status=$?
while kill -0 $run 2>/dev/null; do # the signal has only ended the wait
    wait $run
    status=$?
done
case $status in
75) again=yes ;; # stopped by a signal, and saved
# A rank or a host was lost; 205 is mpirun's word for it. Soon after the start it would be so for ever.
4 | 205) [ $SECONDS -lt 600 ] || again=yes ;;
*) [ $asked = no ] || [ $status -lt 75 ] || again=yes ;; # signalled before the ranks were up
esac
[ $again = no ] || exec scontrol requeue "$SLURM_JOB_ID"
exit $status
