//go:build linux

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// down stops everything, in an order in which nobody misses anybody. It looks for
// what is there and so also ends what an interrupted up has begun.
func down(ctx context.Context, b *bed) error {
	ctx = context.WithoutCancel(ctx) // half a down helps nobody, and it takes seconds
	var names []string
	for _, name := range b.marked() {
		if strings.HasPrefix(name, hostPrefix) {
			names = append(names, name)
		}
	}
	errs := []error{
		b.stop(0, names...), // the kernel ends a machine with its first process
		b.stop(3*time.Second, "kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "storage", "controller"),
		b.stop(5*time.Second, "kube-apiserver"),
		endPods(),
		b.stop(5*time.Second, "containerd", "etcd"),
		b.stop(0, "shim", "child", "vm"),
		b.unmount(),
		b.networkDown(ctx),
		removeGroups(),
		os.RemoveAll(b.run),
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	b.say("down")
	return nil
}

// wipe is down, and the cluster's memory goes.
func wipe(ctx context.Context, b *bed) error {
	if err := down(ctx, b); err != nil {
		return err
	}
	for _, dir := range []string{b.state, "/var/log/pods", "/var/log/containers"} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	b.say("wiped")
	return nil
}

// podGroups are the folders of the kubelet's control groups, deepest first.
func podGroups() []string {
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"} {
		roots, err := filepath.Glob(pattern)
		if err != nil {
			continue // the patterns are ours
		}
		for _, root := range roots {
			_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { // what has gone meanwhile is as well
				if err == nil && d.IsDir() {
					found = append(found, path)
				}
				return nil
			})
		}
	}
	slices.Reverse(found)
	return found
}

// endPods kills the processes of all Pods.
func endPods() error {
	ended := awaitNone(20*time.Second, func() (pids []int) {
		for _, group := range podGroups() {
			data, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(data)) {
				if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
		}
		kill(pids, syscall.SIGKILL)
		return pids
	})
	if !ended {
		return errors.New("processes of Pods do not end")
	}
	return nil
}

func removeGroups() error {
	left := awaitNone(5*time.Second, func() (busy []int) {
		for _, group := range podGroups() {
			if err := os.Remove(group); err != nil && !errors.Is(err, os.ErrNotExist) {
				busy = append(busy, 1)
			}
		}
		return busy
	})
	if !left {
		return errors.New("control groups of Pods cannot be removed")
	}
	return nil
}

// unmount takes away all that is mounted below the bed's folders, last first.
func (b *bed) unmount() error {
	var errs []error
	for range 3 { // mounts may lie over each other
		data, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			return err
		}
		var points []string
		for line := range strings.Lines(string(data)) {
			point := strings.ReplaceAll(strings.Fields(line)[1], `\040`, " ")
			if strings.HasPrefix(point, b.state+"/") || strings.HasPrefix(point, b.run+"/") {
				points = append(points, point)
			}
		}
		if len(points) == 0 {
			return nil
		}
		errs = nil
		slices.Reverse(points)
		for _, point := range points {
			if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
				errs = append(errs, &os.PathError{Op: "unmount", Path: point, Err: err})
			}
		}
	}
	return errors.Join(errs...)
}
