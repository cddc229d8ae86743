package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/provider/qemu/qmp"
)

// errNotInTime says that a guest may have come up later.
var errNotInTime = errors.New("not in time")

func tooLate(limit time.Duration) error { return fmt.Errorf("%w: %s", errNotInTime, limit) }

const (
	// checkEvery is how many looks at the console one check of the guest comes with.
	checkEvery = 50
	// silentTime is how long a guest may compute before its first word. It takes
	// 2 s where it is emulated; one in fifty was seen to spin for ever, and
	// booted when it was started again. It is the guest's time, not ours: on a
	// busy computer a slow guest is not killed for being slow.
	silentTime = 10 * time.Second
)

// awaitLine waits until the guest printed line on its console. It gives up
// when the guest ends, or computes for long and prints nothing at all.
func (v vm) awaitLine(ctx context.Context, m *qmp.Conn, line string) error {
	var said strings.Builder
	for look := 1; ; look++ {
		more, err := v.drainConsole(ctx, m)
		if err != nil {
			return err
		}
		said.WriteString(more)
		if strings.Contains(said.String(), line) {
			return nil
		}
		if look%checkEvery == 0 {
			if err := v.checkStart(ctx, m, said.Len() == 0); err != nil {
				return err
			}
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("the guest did not print %q: %w", line, err)
		}
	}
}

// checkStart tells why a guest that starts never will.
func (v vm) checkStart(ctx context.Context, m *qmp.Conn, silent bool) error {
	var now struct{ Status string }
	if err := m.Do(ctx, "query-status", nil, &now); err != nil {
		return err
	}
	if now.Status == "shutdown" {
		return errors.New("the guest ended itself")
	}
	if !silent {
		return nil
	}
	used, err := processorTime(v.path(aliveFile))
	if err == nil && used > silentTime {
		err = fmt.Errorf("the guest computed for %s and printed nothing", used.Round(time.Second))
	}
	return err
}

// sshPort asks QEMU which port of this computer leads to the guest's SSH.
func sshPort(ctx context.Context, m *qmp.Conn) (int, error) {
	var text string
	if err := m.Do(ctx, "human-monitor-command", map[string]any{"command-line": "info usernet"}, &text); err != nil {
		return 0, err
	}
	return parsePort(text)
}

// parsePort finds the forwarded port in a line such as
//
//	TCP[HOST_FORWARD]  12       127.0.0.1 36245       10.0.2.15    22     0     0
func parsePort(usernet string) (int, error) {
	for line := range strings.Lines(usernet) {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "TCP[HOST_FORWARD]" || f[5] != "22" {
			continue
		}
		if port, err := strconv.Atoi(f[3]); err == nil && port > 0 && port < 1<<16 {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no forwarded port among what QEMU says of its network:\n%s", usernet)
}

// bannerWait bounds one connection that is accepted by QEMU, not by the guest:
// QEMU accepts connections before anything listens in the guest.
const bannerWait = 2 * time.Second

// awaitBanner waits until an SSH server greets at the address.
func awaitBanner(ctx context.Context, address string) error {
	for {
		err := banner(ctx, address)
		if err == nil {
			return nil
		}
		if e := pause(ctx); e != nil {
			return fmt.Errorf("no SSH server answered: %w (%w)", e, err)
		}
	}
}

func banner(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, bannerWait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	got := make([]byte, len("SSH-"))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != "SSH-" {
		return fmt.Errorf("greeted with %q", got)
	}
	return nil
}
