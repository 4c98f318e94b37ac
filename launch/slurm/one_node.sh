#!/bin/bash
# One node, several ranks:
#   sbatch launch/slurm/one_node.sh run.yaml [--key value ...]
# What stands before the script's name wins over the lines below: sbatch --ntasks-per-node=2 --time=0-12 ...
#SBATCH --job-name=axl
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4      # ranks; one a socket or NUMA domain is a good start
#SBATCH --cpus-per-task=8        # cores of each rank, as Slurm counts them
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log
set -u

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK # where Slurm counts hyper-threads: half of it
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # from Slurm 22.05 on, srun does not take it from sbatch
srun --mpi=pmix --cpu-bind=cores axl-dist "$@"
