//go:build unix

package sshhost_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/sshhost"
	"outrigger.dev/outrigger/test/sshd"
)

// Hosts that refuse more than one connection that has not logged in, and have no
// agent yet: a pool that fills up asks for all its machines at once.
func TestManyMachinesAtOnce(t *testing.T) {
	var hosts []sshhost.Host
	for i := range 3 {
		s := sshd.Start(t, sshd.Options{Lines: []string{"MaxStartups 1"}})
		hosts = append(hosts, hostOf(t, fmt.Sprintf("host-%d", i), s, 4))
	}
	p := open(t, hosts...)
	var g errgroup.Group
	for i := range 12 {
		name := machine.Name(fmt.Sprintf("machine-%d", i))
		g.Go(func() error {
			_, err := p.Create(t.Context(), spec(name))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	all, err := p.List(t.Context(), "me")
	if err != nil || len(all) != 12 {
		t.Errorf("there are %d machines (%v), want 12", len(all), err)
	}
	for _, m := range all {
		if err := p.Delete(t.Context(), m.Name); err != nil {
			t.Error(err)
		}
	}
}
