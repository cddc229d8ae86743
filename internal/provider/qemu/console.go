package qemu

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/qemu/qmp"
)

// What a guest prints goes to a ring in QEMU's memory, and from there to a file
// whenever somebody looks: a guest that never stops printing fills no disk.
const (
	ringSize   = 64 << 10
	maxConsole = 256 << 10 // of the file; half of it is dropped when it is full
	maxTail    = 4 << 10   // of what a fault shows
)

// drainConsole moves what the guest printed since the last time to the file
// and returns it.
func (v vm) drainConsole(ctx context.Context, m *qmp.Conn) (string, error) {
	var encoded string
	if err := m.Do(ctx, "ringbuf-read", map[string]any{"device": "console", "size": ringSize, "format": "base64"}, &encoded); err != nil {
		return "", err
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(b) == 0 {
		return "", err
	}
	old, err := v.consoleSoFar()
	if err != nil {
		return "", err
	}
	if all := len(old) + len(b); all > maxConsole {
		old = old[min(len(old), all-maxConsole/2):]
	}
	if err := os.WriteFile(v.path(consoleFile), append(old, b...), 0o600); err != nil {
		return "", fault.New(fault.LocalFile, "qemu: console: %w", err)
	}
	return string(b), nil
}

func (v vm) consoleSoFar() ([]byte, error) {
	b, err := os.ReadFile(v.path(consoleFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.LocalFile, "qemu: console: %w", err)
	}
	return b, nil
}

// consoleTail returns at most the last most bytes that the guest printed, as
// far as they are known.
func (v vm) consoleTail(ctx context.Context, most int) (string, error) {
	if m, err := v.monitor(ctx); err == nil {
		_, err := v.drainConsole(ctx, m)
		m.Close()
		if err != nil {
			v.log.Debug("console not read", "folder", v.dir, "error", err)
		}
	}
	b, err := v.consoleSoFar()
	return lastLines(b, most), err
}

// lastLines returns at most the last most bytes of b as text, from the start of
// a line if there is one.
func lastLines(b []byte, most int) string {
	most = max(most, 0)
	cut := len(b) > most
	if cut {
		b = b[len(b)-most:]
	}
	s := strings.ReplaceAll(strings.ToValidUTF8(string(b), "?"), "\r", "")
	if _, after, ok := strings.Cut(s, "\n"); cut && ok && after != "" {
		s = after
	}
	return s
}
