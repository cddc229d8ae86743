package podrelay

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// memoryMax is where the kernel says how much memory a container may have (cgroup v2).
const memoryMax = "/sys/fs/cgroup/memory.max"

// boundMemory tells the garbage collector of the container's limit, at which the kernel kills. A
// GOMEMLIMIT among what the container declares is its command's.
func boundMemory() {
	text, err := os.ReadFile(memoryMax)
	if err != nil {
		return // another system, or cgroup v1: there the collector does without
	}
	if limit := collectAt(string(text)); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// collectAt leaves a quarter to what is not on the heap; 0: there is no limit.
func collectAt(text string) int64 {
	most, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || most <= 0 {
		return 0 // "max"
	}
	return most / 4 * 3
}
