//go:build linux || darwin

package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// How long processes get to clean up before they are killed, and how long the
// kernel may take to end those that were killed.
const (
	politeTime = 2 * time.Second
	killTime   = 10 * time.Second
	endPoll    = 10 * time.Millisecond
)

// endMarked ends every process that was started on the machine in dir: asks
// it to, and kills what does not. New ones that those start meanwhile are found
// by looking again until there are none.
func endMarked(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, politeTime+killTime)
	defer cancel()
	polite := time.Now().Add(politeTime)
	asked := map[int]bool{}
	for {
		pids, err := marked(dir)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			switch {
			case time.Now().After(polite):
				err = kill(pid, syscall.SIGKILL)
			case !asked[pid]:
				asked[pid] = true
				err = kill(pid, syscall.SIGTERM)
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-time.After(endPoll):
		case <-ctx.Done():
			return fmt.Errorf("processes %v do not end: %w", pids, context.Cause(ctx))
		}
	}
}

// kill signals a process that may have ended already.
func kill(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	return nil
}

// belongs tells whether a process with this executable and this environment,
// NAME=value strings that each end with a zero byte, was started on the machine
// in dir. A program that lies there belongs to it even if it was given another environment.
func belongs(dir, exe string, environ []byte) bool {
	if strings.HasPrefix(exe, dir+string(filepath.Separator)) {
		return true
	}
	mark := []byte(Marker + "=" + dir)
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.Equal(v, mark) {
			return true
		}
	}
	return false
}
