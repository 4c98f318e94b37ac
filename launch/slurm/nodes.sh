#!/bin/bash
# Several nodes:
#   sbatch --nodes=4 launch/slurm/nodes.sh run.yaml [--key value ...]
#   LAUNCHER=mpirun sbatch --nodes=4 launch/slurm/nodes.sh run.yaml    where srun has no pmix (srun --mpi=list)
# The configuration, the model, the data and output_dir lie on a file system that all nodes share.
#SBATCH --job-name=axl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4      # ranks; one a socket or NUMA domain is a good start
#SBATCH --cpus-per-task=8        # cores of each rank, as Slurm counts them
#SBATCH --time=1-00:00:00
#SBATCH --output=%x-%j.log
set -u

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK # where Slurm counts hyper-threads: half of it
if [ "${LAUNCHER:-srun}" = srun ]; then
    export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # from Slurm 22.05 on, srun does not take it from sbatch
    # --wait: when a rank is gone, the others are ended a minute later at the latest
    start=(srun --mpi=pmix --cpu-bind=cores --wait=60)
else
    # A host that is lost: known to mpirun after 10 + 3 x 5 s, which must be less than heartbeat_timeout.
    : "${OMPI_MCA_oob_tcp_keepalive_time:=10}" "${OMPI_MCA_oob_tcp_keepalive_intvl:=5}"
    : "${OMPI_MCA_oob_tcp_keepalive_probes:=3}"
    export "${!OMPI_MCA_oob_tcp_keepalive_@}"
    start=(mpirun --map-by "ppr:$SLURM_NTASKS_PER_NODE:node:PE=$OMP_NUM_THREADS" --bind-to core)
fi
"${start[@]}" axl-dist "$@"
