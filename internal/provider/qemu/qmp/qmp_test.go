package qmp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/provider/qemu/qmp"
)

const greeting = `{"QMP": {"version": {}, "capabilities": []}}` + "\r\n"

// answering plays QEMU's part: it greets and then gives one answer for each command.
func answering(t testing.TB, hello string, answers ...string) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		if _, err := far.Write([]byte(hello)); err != nil {
			return
		}
		in := bufio.NewScanner(far)
		for _, a := range answers {
			if !in.Scan() || !json.Valid(in.Bytes()) {
				return
			}
			if _, err := far.Write([]byte(a)); err != nil {
				return
			}
		}
		in.Scan() // until the other side is closed
	}()
	t.Cleanup(func() {
		near.Close()
		<-done
	})
	return near
}

func TestCommandsAndAnswers(t *testing.T) {
	const ok = `{"return": {}}` + "\n"
	event := `{"event": "STOP", "timestamp": {}}` + "\n"
	c, err := qmp.Open(t.Context(), answering(t, greeting, ok,
		event+event+`{"return": {"status": "running"}}`+"\n",
		`{"error": {"class": "GenericError", "desc": "no such thing"}}`+"\n",
		"nonsense\n"))
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Status string }
	if err := c.Do(t.Context(), "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("status %q, %v, want running: events are passed over", status.Status, err)
	}
	var refused *qmp.Error
	if err := c.Do(t.Context(), "device_del", map[string]any{"id": "x"}, nil); !errors.As(err, &refused) || refused.Error() != "qemu: device_del: no such thing" {
		t.Errorf("%v, want QEMU's own words", err)
	}
	if err := c.Do(t.Context(), "stop", nil, nil); err == nil {
		t.Error("nonsense was taken for an answer")
	}
}

func TestNoQEMU(t *testing.T) {
	for name, hello := range map[string]string{
		"something else":   "SSH-2.0-x\r\n",
		"another protocol": "{}\n",
		"an endless line":  strings.Repeat("x", 2<<20),
		"nothing":          "",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // for the one that says nothing
			defer cancel()
			if _, err := qmp.Open(ctx, answering(t, hello)); err == nil {
				t.Error("taken for QEMU")
			}
		})
	}
}

func TestGivingUp(t *testing.T) {
	c, err := qmp.Open(t.Context(), answering(t, greeting, `{"return": {}}`+"\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, "quit", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
}

// FuzzAnswers: whatever comes from the socket, a session ends or answers.
func FuzzAnswers(f *testing.F) {
	f.Add(greeting, `{"return": {}}`+"\n", `{"return": 7}`+"\n")
	f.Add(greeting, `{"event": "x"}`+"\n"+`{"error": {}}`+"\n", "\n")
	f.Add(`{"QMP": null}`+"\n", "", "")
	f.Add(greeting, `{"return": {}}`+"\n", `{"return": null, "error": null}`+"\n")
	f.Fuzz(func(t *testing.T, hello, first, second string) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		c, err := qmp.Open(ctx, answering(t, hello, first, second))
		if err != nil {
			return
		}
		var any json.RawMessage
		_ = c.Do(ctx, "query-status", nil, &any) // an answer or an error, but an end
	})
}
