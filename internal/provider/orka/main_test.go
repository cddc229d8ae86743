//go:build linux

package orka_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/orka"
)

// quick are the times of a cluster that is much faster than any.
var quick = operator.Times{
	Uncached: 200 * time.Millisecond, Cached: 50 * time.Millisecond, SSH: 50 * time.Millisecond, Login: 20 * time.Millisecond,
	Save: 100 * time.Millisecond, Push: 100 * time.Millisecond, End: 20 * time.Millisecond,
}

// cluster starts one. What is not said of it is one host, quick.
func cluster(t *testing.T, change func(*devorka.Config)) *devorka.Server {
	t.Helper()
	cfg := devorka.Config{Times: &quick, Minute: 2 * time.Second, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	s, err := devorka.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	return s
}

func token(t *testing.T, s *devorka.Server, g devorka.Grant) machine.Secret {
	t.Helper()
	tok, err := s.Token(g)
	if err != nil {
		t.Fatal(err)
	}
	return machine.NewSecret(tok)
}

// config is nothing but endpoint and token, and the door.
func config(t *testing.T, s *devorka.Server, door orka.Door) orka.Config {
	t.Helper()
	return orka.Config{Endpoint: s.Endpoint(), Token: token(t, s, devorka.Grant{Role: "orka-dev"}), Door: door, CapacityWait: 300 * time.Millisecond}
}

func open(t *testing.T, cfg orka.Config, state string) *orka.Provider {
	t.Helper()
	p, err := orka.New("orka", cfg, state, slog.New(logger{t}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var _ provider.Provider = (*orka.Provider)(nil)

// logger shows a provider's log with the test that failed.
type logger struct{ t *testing.T }

func (l logger) Enabled(context.Context, slog.Level) bool { return true }
func (l logger) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.t.Log(r.Time.Format("15:04:05.000"), line)
	return nil
}
func (l logger) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l logger) WithGroup(string) slog.Handler      { return l }

// doors are both of Orka's APIs.
var doors = []orka.Door{orka.DoorKubernetes, orka.DoorREST}

// eachDoor runs f through each door.
func eachDoor(t *testing.T, f func(t *testing.T, door orka.Door)) {
	for _, d := range doors {
		t.Run(string(d), func(t *testing.T) { f(t, d) })
	}
}

// vms are the names of the VMs that exist.
func vms(s *devorka.Server) (names []string) {
	for _, vm := range s.VMs() {
		names = append(names, vm.Name)
	}
	return names
}

func spec(name machine.Name) machine.Spec {
	return machine.Spec{Name: name, Owner: "tester", Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second)}
}

func jsonDecode(r io.Reader, out any) error { return json.NewDecoder(r).Decode(out) }
