//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/test/built"
)

// status says which daemons run, with the memory of each, and what is in the cluster.
func status(ctx context.Context, b *bed) error {
	var lines []string
	for pid, name := range b.marked() {
		if name != "shim" && name != "child" && name != "vm" {
			lines = append(lines, fmt.Sprintf("%-26s pid %-7d %s", name, pid, memory(pid)))
		}
	}
	if len(lines) == 0 {
		fmt.Println("down")
		return nil
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
	if b.find("kube-apiserver") == 0 {
		return nil
	}
	var err error
	if b.kube, err = built.Kube(ctx, b.out); err != nil {
		return err
	}
	for _, what := range []string{"nodes,pods", "machinepools,machines"} {
		out, err := b.kubectl(ctx, "get", what, "-A", "-o", "wide")
		fmt.Print(out)
		if err != nil && !strings.Contains(err.Error(), "the server doesn't have a resource type") {
			return err
		}
	}
	return printEnv(ctx, b)
}

func memory(pid int) string {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return "" // it has ended meanwhile
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			if kib, err := strconv.Atoi(fields[1]); err == nil {
				return fmt.Sprintf("%d MiB", kib/1024)
			}
		}
	}
	return ""
}
