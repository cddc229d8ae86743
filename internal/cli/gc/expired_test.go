//go:build linux

package gc_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/gc"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka"
)

// A Task whose Pod was lost with its node has left a VM. Whoever sweeps has nothing of its
// state; the VM itself says when its time is over, and not before that it goes.
func TestExpiredMachinesOfOthers(t *testing.T) {
	quick := operator.Times{Uncached: 50 * time.Millisecond, Cached: 50 * time.Millisecond, SSH: 20 * time.Millisecond, Login: 20 * time.Millisecond, End: 20 * time.Millisecond}
	s, err := devorka.Start(devorka.Config{Times: &quick, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	token, err := s.Token(devorka.Grant{Role: "orka-dev"})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := orka.New("orka", orka.Config{Endpoint: s.Endpoint(), Token: machine.NewSecret(token)}, t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for name, expires := range map[machine.Name]time.Time{"step-lost": begun.Add(time.Hour), "step-long": begun.Add(10 * time.Hour)} {
		if _, err := lost.Create(t.Context(), machine.Spec{Name: name, Owner: "a Pod", Expires: expires}); err != nil {
			t.Fatal(err)
		}
	}

	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	for file, content := range map[string]string{
		config:                      "providers:\n  orka:\n    orka: {endpoint: " + s.Endpoint() + ", tokenFile: token}\n",
		filepath.Join(dir, "token"): token,
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		after time.Duration
		args  []string
		want  string
	}{
		{2 * time.Hour, nil, ""}, // another installation's are not its business
		{time.Hour + time.Minute, []string{"--expired"}, ""},
		{2 * time.Hour, []string{"--expired", "--dry-run"}, "would remove machine step-lost on orka: its time is over\n"},
		{2 * time.Hour, []string{"--expired"}, "removed machine step-lost on orka: its time is over\n"},
		{2 * time.Hour, []string{"--expired"}, ""},
	} {
		var out, errs bytes.Buffer
		a := app.New(&term.IO{
			In: strings.NewReader(""), Out: &out, Err: &errs, Now: func() time.Time { return begun.Add(tt.after) },
			Environ: []string{"OUTRIGGER_CONFIG=" + config, "HOME=" + dir, "XDG_STATE_HOME=" + filepath.Join(dir, "state")},
		})
		cmd := gc.New(a)
		cmd.SetArgs(tt.args)
		err := cmd.ExecuteContext(t.Context())
		a.Close()
		if err != nil || out.String() != tt.want {
			t.Errorf("after %v, gc %v: %q, %v, want %q; %s", tt.after, tt.args, out.String(), err, tt.want, errs.String())
		}
	}
	if vms := s.VMs(); len(vms) != 1 {
		t.Errorf("VMs %v, want the one whose time is not over", vms)
	}
}
