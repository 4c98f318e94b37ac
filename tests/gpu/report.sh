#!/bin/bash
# A page for a person from a result of run.sh: report.sh RESULT.json
# The kernels, each with its share of the chip, the best of others' times beside ours; the train steps; which goals are
# met; what failed. No more than some 110 lines: of what a lent machine says, only the end may come back.
set -uo pipefail
# figures: name, variant, metric, value of all that was measured
figures() {
    sed -n 's/^ *{"name": "\([^"]*\)", "variant": "\([^"]*\)", "metric": "\([^"]*\)", "value": \([^,]*\), "unit".*/\1 \2 \3 \4/p' "$1"
}
figures "${1:?RESULT.json}" | awk '
function us(x) { return x == "" ? "-" : sprintf(x < 9999.5 ? "%.1f" : "%.0f", x) }
function ratio(x) { return x == "" ? "-" : sprintf("%.2f", x) }
# goal NAME VALUE LEAST: against what was asked for
function goal(name, value, least, form) {
    if (value == "") verdict = "not measured"
    else verdict = sprintf(form, value) (value >= least ? ": met" : ": MISSED")
    goals[++n_goals] = sprintf("goal: %s at least " form ": %s", name, least, verdict)
}
# what a share of the chip is counted in: the data sheet of products, the copy of passes over memory
function share(name) {
    if ((name, "of_peak") in own) return sprintf("%3.0f %% of peak", 100 * own[name, "of_peak"])
    if ((name, "of_gemm") in own) return sprintf("%3.0f %% of gemm", 100 * own[name, "of_gemm"])
    if ((name, "of_copy") in own) return sprintf("%3.0f %% of copy", 100 * own[name, "of_copy"])
    return "-"
}
$3 ~ /^(of_peak|of_gemm|of_copy)$/ || ($3 == "time" && $2 ~ /\//) { # of `bench`, whose variants are BACKEND/TOKENS
    own[$1, $3] = $4
    if (!($1 in seen)) { seen[$1] = 1; order[++n] = $1 }
}
$3 == "time" && $2 ~ /^axl-dist/ { # of `peers`: in turn with theirs, so this time is the one to compare
    row = $1
    if (sub(/^axl-dist_/, "", $2)) { split($1, part, "/"); row = part[1] "_" $2 "/" part[2] }
    paired[row] = $4
}
$3 == "time" && $2 ~ /^torch_/ && (!($1 in theirs) || $4 < theirs[$1]) { theirs[$1] = $4; who[$1] = substr($2, 7) }
$3 ~ /^(step|throughput|mfu|peak_memory|speed|gain)$/ && $2 !~ /\// && $1 !~ /\// && $2 !~ /^torch_/ { # of `step`
    step[$1, $2, $3] = $4
    if ($1 != "ratio" && !(($1, $2) in stepped)) { stepped[$1, $2] = 1; steps[++n_steps] = $1 " " $2 }
}
END {
    if (n) printf "%-24s %10s %10s  %-18s %6s  %s\n", "kernel", "ours, us", "theirs, us", "by", "ratio", "of the chip"
    for (i = 1; i <= n; i++) {
        name = order[i]
        base = name
        if (sub(/_(own|mma|cudnn)\//, "/", base) && !(base in theirs)) base = name
        peer = base in theirs
        mine = (name in paired) ? paired[name] : own[name, "time"]
        printf "%-24s %10s %10s  %-18s %6s  %s\n", name, us(mine), peer ? us(theirs[base]) : "-", peer ? who[base] : "-",
            peer && (name in paired) ? ratio(theirs[base] / mine) : "-", share(name)
        # at the size of a step of the 8B shape; a pass over SmolLM2 rows takes little more than a launch
        if (name ~ /^(norm_fwd|norm_bwd|rope|glu_fwd|glu_bwd|ce_fwd|ce_bwd|adamw|add|cast)$/ && (name, "of_copy") in own) {
            if (least == "" || own[name, "of_copy"] < least) { least = own[name, "of_copy"]; slowest = name }
        }
    }
    if (n_steps) printf "%-34s %9s %10s %7s %8s\n", "step", "seconds", "tokens/s", "MFU", "GiB"
    for (i = 1; i <= n_steps; i++) {
        split(steps[i], of, " ")
        if (!((of[1], of[2], "step") in step)) continue
        printf "%-34s %9.4f %10.0f %7s %8s\n", of[1] " " of[2], step[of[1], of[2], "step"], step[of[1], of[2], "throughput"],
            ratio(step[of[1], of[2], "mfu"]), (of[1], of[2], "peak_memory") in step ? sprintf("%.1f", step[of[1], of[2], "peak_memory"] / 2^30) : "-"
    }
    for (key in step) {
        split(key, of, SUBSEP)
        if (of[1] == "ratio") printf "%s: %.2f times as fast %s\n", of[2], step[key], of[3] == "gain" ? "in 8 bits as in bf16" : "as PyTorch compiled"
    }
    whole = step["axl-dist", "llama-8b", "throughput"]
    if (whole == "") whole = step["axl-dist", "llama-8b_extrapolated", "throughput"]
    goal("8B shape, tokens/s on an H200", whole, 6700, "%.0f")
    goal("SmolLM2-135M, of PyTorch compiled", step["ratio", "smollm2-135m", "speed"], 1.2, "%.2f")
    goal("passes over memory, of copy" (slowest != "" ? " (least: " slowest ")" : ""), least, 0.85, "%.2f")
    for (i = 1; i <= n_goals; i++) print goals[i]
}'
# what failed, with the beginning of its reason
sed -n 's/^ *{"name": "\([^"]*\)", "outcome": "failed".*"text": "\(.*\)/\1: \2/p' "$1" |
    sed 's/", "results": \[$//; s/"},*$//' | cut -c 1-300 | tail -n 14
