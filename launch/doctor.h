// What axl-dist doctor finds out: facts of each rank, speed along each axis, the output folder, and what is
// wrong with them. Measured by one file each, judged in doctor_findings.c, shown in doctor_report.c.
//
// Everything is boxed in time: a first timing says how much work fits, and all ranks agree on it.
#ifndef AXL_LAUNCH_DOCTOR_H
#define AXL_LAUNCH_DOCTOR_H

#include "comm/mesh.h"
#include "launch/bringup.h"
#include "src/io/diagnostics.h"

#define AXL_DOCTOR_SECONDS                                                                         \
    6.5 // measuring ends then when nothing else is asked, from the program's start

// Facts of one rank. Plain bytes: it travels to rank 0 as it is.
typedef struct axl_doctor_rank {
    char host[64],
        boot[40]; // boot: id of the running Linux kernel, the same for containers of a machine
    char processor[64];
    char kernels[24];    // level
    char gpus[256];      // or why there are none
    char gpus_near[512]; // what is nearest to each, on lines; ""
    char version[16];    // of axl-dist
    char chip[64];       // the name of the accelerator that it computes on; "": on processors
    char governor[16], huge_pages[16], fabric[64]; // "" where Linux does not say
    int local_rank, local_size;                    // among the ranks that MPI sees on this host
    int threads;                                   // of a kernel
    int n_cpus;                                    // of the host that are online
    int n_numa, n_numa_used; // of the host; those with a processor of this rank
    uint64_t cpus[16];       // bits: the processors this rank may use
    double cpu_quota;        // processors' worth of time that the cgroup allows; 0: all
    double mhz;              // now; 0: not known
    bool avx2, avx512, avx512_bf16, amx_bf16, amx_tiles, gpu;
    int64_t memory, memory_available; // of the host, bytes
    int64_t memory_limit;             // of the cgroup or ulimit -v, bytes; 0: none
    double gemm_f32, gemm_bf16;       // FLOP/s while all ranks compute
    double memory_rate;               // bytes/s while all ranks add arrays
    double clock_offset, clock_error; // seconds ahead of rank 0's clock; both 0 on its host
    bool folder_seen;                 // the file that rank 0 wrote, with its content
    bool folder_writable;
    bool model_seen;
    uint64_t folder_inode; // of that file
} axl_doctor_rank;

// One operation along one axis, all groups of the axis at once.
typedef struct axl_doctor_speed {
    const char *axis; // "dp_shard", or a group of axes: "dense"
    char also[48];    // groups that are the same ranks: "dense, expert"; may be ""
    axl_comm_op op;
    int n_ranks, n_groups;
    double latency;          // seconds a call of AXL_DOCTOR_SMALL bytes, of the slowest group
    int64_t large_bytes;     // size for the bandwidth
    double slowest, fastest; // bus bandwidth of groups, bytes/s, as nccl-tests define it
} axl_doctor_speed;

#define AXL_DOCTOR_SMALL      1024
#define AXL_DOCTOR_MAX_SPEEDS 16

typedef struct axl_doctor {
    axl_bringup up;
    axl_mesh *mesh;         // owned
    int n_ranks;            // of the world
    axl_doctor_rank *ranks; // [n_ranks], owned; rank 0 only
    axl_doctor_speed speeds[AXL_DOCTOR_MAX_SPEEDS];
    int n_speeds;
    int n_unmeasured;   // of further ones, for which there was no time
    char folder[512];   // that was probed; "" without a configuration
    double folder_rate; // bytes/s written and flushed by rank 0; 0: it could not write
    int64_t folder_free;
    char folder_error[200]; // why rank 0 could not
    axl_diagnostics findings;
    double seconds; // from the start of the program
} axl_doctor;

// Fills what is known without measuring. b has its device. Local.
void axl_doctor_host(const axl_bringup *b, axl_doctor_rank *r);

// Arithmetic and memory, all ranks at once: gemm_f32, gemm_bf16, memory_rate. Collective on the world.
axl_status axl_doctor_rates(const axl_bringup *b, axl_doctor_rank *r);

// How far this rank's clock is ahead of rank 0's, and half the shortest round trip: the error. Collective on c.
axl_status axl_doctor_clock(axl_comm *c, double *offset, double *error);

// The operations that training uses along each axis and group of more than one rank. memory: bytes that one
// rank may take for it. Until seconds after up.start; what then lacks gets one call of each size, and
// nothing when it is late. Collective on the world.
axl_status axl_doctor_speeds(axl_doctor *d, int64_t memory, double seconds);

// Rank 0 writes a file where output_dir is or would be, all look for it, and it is removed. Fails on no
// file error: that is a finding. Collective on the world.
axl_status axl_doctor_folder(axl_doctor *d, axl_doctor_rank *r);

// On rank 0: warnings and errors from all of the above, each with its mend.
void axl_doctor_judge(axl_doctor *d);

// On rank 0: appends the report.
axl_status axl_doctor_text(const axl_doctor *d, axl_str *out);
axl_status axl_doctor_json(const axl_doctor *d, axl_str *out);

bool axl_doctor_same_host(const axl_doctor_rank *a, const axl_doctor_rank *b);
int axl_doctor_count_cpus(const uint64_t cpus[16]);

#endif
