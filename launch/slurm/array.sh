#!/bin/bash
# A sweep: each line of a file holds the arguments of one run, and each run is a task of a job array.
#   sbatch --array=1-$(wc -l <sweep.txt)%2 launch/slurm/array.sh sweep.txt      %2: two at a time
# with a sweep.txt like
#   run.yaml --seed 1 --output_dir runs/seed-1
#   run.yaml --seed 2 --output_dir runs/seed-2
#   large.yaml --learning_rate 5e-6 --output_dir runs/large
# Each run needs an output_dir of its own.
#SBATCH --job-name=axl-sweep
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4      # ranks of one run
#SBATCH --cpus-per-task=8        # cores of each rank, as Slurm counts them
#SBATCH --time=04:00:00
#SBATCH --output=%x-%A-%a.log
set -u

read -ra arguments <<<"$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")"
if [ ${#arguments[@]} = 0 ]; then
    echo "$1 has no line $SLURM_ARRAY_TASK_ID: give sbatch --array=1-$(wc -l <"$1")" >&2
    exit 2
fi

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK # where Slurm counts hyper-threads: half of it
if [ "${LAUNCHER:-srun}" = srun ]; then
    export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # from Slurm 22.05 on, srun does not take it from sbatch
    start=(srun --mpi=pmix --cpu-bind=cores --wait=60)
else
    start=(mpirun --map-by "ppr:$SLURM_NTASKS_PER_NODE:node:PE=$OMP_NUM_THREADS" --bind-to core)
fi
"${start[@]}" axl-dist "${arguments[@]}"
