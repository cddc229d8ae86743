//go:build linux

package orka_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/reach"
)

func arm(t *testing.T, s *devorka.Server, f inject.Fault) {
	t.Helper()
	if _, err := s.Faults().Add(f); err != nil {
		t.Fatal(err)
	}
}

// wants checks an error's kind, and that it says all of words.
func wants(t *testing.T, what string, err error, kind fault.Kind, words ...string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: got %v (%s), want a fault of kind %s", what, err, fault.Of(err), kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: got %v, want it to say %q", what, err, w)
		}
	}
}

func answers(t *testing.T, m machine.Machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := reach.Wait(ctx, m.Endpoint, reach.Options{})
	if err != nil {
		t.Fatalf("machine %s: %v", m.Name, err)
	}
	defer c.Close()
	if out, exit, err := c.Output(ctx, "echo there", nil); string(out) != "there\n" || exit != 0 || err != nil {
		t.Errorf("machine %s: %q, exit %d, %v", m.Name, out, exit, err)
	}
}

// What happens to the requests of a create, and it comes through all the same, as one VM.
func TestCreateComesThrough(t *testing.T) {
	for name, faults := range map[string][]inject.Fault{
		"the answer is lost":        {{Kind: inject.Lost, Method: "POST", Count: 1}},
		"the answer is lost, twice": {{Kind: inject.Lost, Method: "POST", Count: 2}},
		"the request is lost":       {{Kind: inject.Refuse, Method: "POST", Count: 2}},
		"a server error":            {{Kind: inject.Error, Method: "POST", Status: 503, Count: 2}},
		"an internal error":         {{Kind: inject.Error, Method: "POST", Status: 500, Count: 1}},
		"looks fail":                {{Kind: inject.Error, Method: "GET", Path: "/v", Status: 502, Count: 5}},
		"looks are cut":             {{Kind: inject.Lost, Method: "GET", Path: "/v", Count: 4}},
		"watches end":               {{Kind: inject.Cut, Delay: inject.Duration(10 * time.Millisecond)}},
		"all is slow":               {{Kind: inject.Slow, Delay: inject.Duration(200 * time.Millisecond)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			eachDoor(t, func(t *testing.T, door orka.Door) {
				s := cluster(t, nil)
				p := open(t, config(t, s, door), t.TempDir())
				if _, err := p.List(t.Context(), ""); err != nil { // the door is chosen
					t.Fatal(err)
				}
				for _, f := range faults {
					arm(t, s, f)
				}
				m, err := p.Create(t.Context(), spec("mac-a"))
				if err != nil {
					t.Fatal(err)
				}
				if got := vms(s); len(got) != 1 {
					t.Errorf("VMs %v, want one", got)
				}
				answers(t, m)
				s.Faults().Remove(0)
				if err := p.Delete(t.Context(), m.Name); err != nil {
					t.Error(err)
				}
				if got := vms(s); len(got) != 0 {
					t.Errorf("VMs %v are left", got)
				}
			})
		})
	}
}

// The API is a single replica: it restarts in the middle.
func TestCreateOutlastsARestart(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, func(c *devorka.Config) {
			slow := quick
			slow.Uncached = time.Second
			c.Times = &slow
		})
		p := open(t, config(t, s, door), t.TempDir())
		made := make(chan error, 1)
		go func() {
			_, err := p.Create(t.Context(), spec("mac-a"))
			made <- err
		}()
		for len(vms(s)) == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		if err := s.Restart(t.Context(), 500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if err := <-made; err != nil {
			t.Error(err)
		}
		if got := vms(s); len(got) != 1 {
			t.Errorf("VMs %v, want one", got)
		}
	})
}

func TestNoRoomLeavesNothing(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		t.Run("hosts are full", func(t *testing.T) {
			s := cluster(t, nil)
			p := open(t, config(t, s, door), t.TempDir())
			for _, name := range []machine.Name{"mac-a", "mac-b"} {
				if _, err := p.Create(t.Context(), spec(name)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := p.Create(t.Context(), spec("mac-c"))
			wants(t, "Create on a full host", err, fault.NoCapacity, "no room", "orka-default")
			if got := vms(s); len(got) != host {
				t.Errorf("VMs %v, want the first two", got)
			}
			_, again := p.Create(t.Context(), spec("mac-c"))
			if again == nil || again.Error() != err.Error() {
				t.Errorf("other words on the second try:\n%v\n%v", err, again)
			}
		})
		t.Run("nothing is placed", func(t *testing.T) {
			s := cluster(t, nil)
			arm(t, s, inject.Fault{Kind: inject.NoCapacity})
			_, err := open(t, config(t, s, door), t.TempDir()).Create(t.Context(), spec("mac-a"))
			wants(t, "Create", err, fault.NoCapacity)
			if got := vms(s); len(got) != 0 {
				t.Errorf("VMs %v are left", got)
			}
		})
		t.Run("no node is ready", func(t *testing.T) {
			s := cluster(t, nil)
			cfg := config(t, s, door)
			for _, n := range nodes(t, cfg) {
				if err := s.NodeReady(n, false); err != nil {
					t.Fatal(err)
				}
			}
			_, err := open(t, cfg, t.TempDir()).Create(t.Context(), spec("mac-a"))
			wants(t, "Create", err, fault.NoCapacity, "ready")
			if got := vms(s); len(got) != 0 {
				t.Errorf("VMs %v are left", got)
			}
		})
	})
}

// Mistakes fail at once, with Orka's own words.
func TestMistakes(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, nil)
		good := config(t, s, door)
		for _, tt := range []struct {
			name   string
			change func(*orka.Config)
			kind   fault.Kind
			words  []string
		}{
			{"unknown image", func(c *orka.Config) { c.Image = "sequoia-typo" }, fault.UnknownImage, []string{"sequoia-typo"}},
			{"unknown VM config", func(c *orka.Config) { c.VMConfig = "no-such-config" }, fault.UnknownImage, []string{"no-such-config"}},
			{"read-only token", func(c *orka.Config) { c.Token = token(t, s, devorka.Grant{Role: "viewer"}) }, fault.ProviderRefused, []string{"403", "forbidden"}},
			{"no rights at all", func(c *orka.Config) { c.Token = token(t, s, devorka.Grant{}) }, fault.ProviderRefused, []string{"403", "forbidden"}},
			{"a token of nobody", func(c *orka.Config) { c.Token = machine.NewSecret("nonsense") }, fault.ProviderRefused, []string{"401"}},
			{"a namespace that is not there", func(c *orka.Config) { c.Namespace = "orka-none" }, fault.ProviderRefused, []string{"orka-none"}},
			{"a tag that is too long for Orka", func(c *orka.Config) { c.Tag = strings.Repeat("t", 40) }, fault.ProviderRefused, nil},
		} {
			t.Run(tt.name, func(t *testing.T) {
				cfg := good
				tt.change(&cfg)
				start := time.Now()
				p := open(t, cfg, t.TempDir())
				_, err := p.Create(t.Context(), spec("mac-a"))
				wants(t, "Create", err, tt.kind, tt.words...)
				if fault.Lookup(fault.Of(err)).Retry {
					t.Errorf("%v counts as worth a retry", err)
				}
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("it took %v to say so", took)
				}
				if got := vms(s); len(got) != 0 {
					t.Errorf("VMs %v are left", got)
				}
			})
		}
	})
}

func TestATokenThatEnded(t *testing.T) {
	s := cluster(t, nil)
	cfg := config(t, s, orka.DoorAuto)
	short := token(t, s, devorka.Grant{Role: "orka-dev", TTL: time.Second})
	cfg.Token = short
	p := open(t, cfg, t.TempDir())
	end, ok := p.TokenExpires()
	if left := time.Until(end); !ok || left > 2*time.Second || left < -2*time.Second {
		t.Errorf("the token ends at %v, %v", end, ok)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := p.List(t.Context(), "")
		if err != nil {
			wants(t, "List", err, fault.ProviderRefused, "401", "it ended on "+end.Format(time.RFC3339))
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the token does not end")
		}
		time.Sleep(100 * time.Millisecond)
	}
	// The next one is read from where it lies.
	fresh := token(t, s, devorka.Grant{Role: "orka-dev"})
	cfg.Refresh = func(context.Context) (machine.Secret, error) { return fresh, nil }
	if _, err := open(t, cfg, t.TempDir()).List(t.Context(), ""); err != nil {
		t.Errorf("with a fresh token to read: %v", err)
	}
}

func TestWrongEndpoint(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><html>welcome</html>"))
	}))
	defer web.Close()
	// Orka 2 has another API: it knows no such path.
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Powered-By", "Express")
		http.Error(w, "Cannot GET /api/v1/cluster-info", http.StatusNotFound)
	}))
	defer old.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, tt := range []struct {
		name, endpoint string
		kind           fault.Kind
		words          string
	}{
		{"nobody there", gone.URL, fault.ProviderDown, "does not answer"},
		{"a web site", web.URL, fault.ProviderDown, "not JSON"},
		{"an Orka of the second version", old.URL, fault.ProviderRefused, "404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := open(t, orka.Config{Endpoint: tt.endpoint, Token: machine.NewSecret("x")}, t.TempDir())
			start := time.Now()
			_, err := p.Create(t.Context(), spec("mac-a"))
			wants(t, "Create", err, tt.kind, tt.words, tt.endpoint)
			if fault.Remedy(err) == "" {
				t.Error("nothing is said about what to do")
			}
			if err := p.Delete(t.Context(), "mac-a"); err != nil {
				t.Errorf("Delete of what was never asked for: %v", err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v to say so", took)
			}
		})
	}
}

func TestSomebodyElseHasTheName(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, nil)
		p := open(t, config(t, s, door), t.TempDir())
		arm(t, s, inject.Fault{Kind: inject.Taken, Count: 1})
		_, err := p.Create(t.Context(), spec("mac-a"))
		wants(t, "Create", err, fault.NameTaken, "mac-a")
		if err := p.Delete(t.Context(), "mac-a"); err != nil { // as callers do after an error
			t.Error(err)
		}
		if got := vms(s); len(got) != 1 {
			t.Errorf("VMs %v, want that of somebody else", got)
		}
		if _, err := p.Create(t.Context(), spec("mac-a")); !fault.Is(err, fault.NameTaken) {
			t.Errorf("second Create: %v", err)
		}
		if all, err := p.List(t.Context(), ""); err != nil || len(all) != 0 {
			t.Errorf("List: %v, %v; want nothing of ours", all, err)
		}
	})
}

// Two VMs' port rules are mixed up: whoever asks for the second gets neither.
func TestPortsMixedUp(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, nil)
		p := open(t, config(t, s, door), t.TempDir())
		first, err := p.Create(t.Context(), spec("mac-a"))
		if err != nil {
			t.Fatal(err)
		}
		arm(t, s, inject.Fault{Kind: inject.Mixed, VM: "mac-b"})
		_, err = p.Create(t.Context(), spec("mac-b"))
		wants(t, "Create", err, fault.ProviderDown, "mac-b", "mac-a")
		if _, err := reach.Dial(t.Context(), first.Endpoint, reach.Options{}); !fault.Is(err, fault.HostKey) {
			t.Errorf("the first machine's address leads to the second, and: %v", err)
		}
		for _, name := range []machine.Name{"mac-a", "mac-b"} {
			if err := p.Delete(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		if got := vms(s); len(got) != 0 {
			t.Errorf("VMs %v are left", got)
		}
	})
}

// What becomes of VMs whose deploy goes wrong, or that end by themselves.
func TestVMsThatComeToNothing(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		for _, tt := range []struct {
			kind  inject.Kind
			fault fault.Kind
		}{
			{inject.Fails, fault.ProviderRefused},
			{inject.NoAddress, fault.ProviderDown},
			{inject.Deaf, fault.BootTimeout},
		} {
			t.Run(string(tt.kind), func(t *testing.T) {
				s := cluster(t, nil)
				cfg := config(t, s, door)
				cfg.BootTimeout = 2 * time.Second
				p := open(t, cfg, t.TempDir())
				arm(t, s, inject.Fault{Kind: tt.kind})
				_, err := p.Create(t.Context(), spec("mac-a"))
				wants(t, "Create", err, tt.fault, "mac-a")
				if err := p.Delete(t.Context(), "mac-a"); err != nil {
					t.Error(err)
				}
				if got := vms(s); len(got) != 0 {
					t.Errorf("VMs %v are left", got)
				}
			})
		}
	})
}

func TestVMDeletedBehindOurBack(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, nil)
		p := open(t, config(t, s, door), t.TempDir())
		if _, err := p.Create(t.Context(), spec("mac-a")); err != nil {
			t.Fatal(err)
		}
		stranger := open(t, config(t, s, door), t.TempDir())
		if err := stranger.Delete(t.Context(), "mac-a"); err != nil {
			t.Fatal(err)
		}
		_, err := p.Get(t.Context(), "mac-a")
		wants(t, "Get", err, fault.UnknownMachine)
		if err := p.Delete(t.Context(), "mac-a"); err != nil {
			t.Error(err)
		}
		// The name is free, and what was pinned for the first VM does not count for the second.
		m, err := p.Create(t.Context(), spec("mac-a"))
		if err != nil {
			t.Fatal(err)
		}
		answers(t, m)
	})
}

func TestAPIDownDuringDelete(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, nil)
		p := open(t, config(t, s, door), t.TempDir())
		if _, err := p.Create(t.Context(), spec("mac-a")); err != nil {
			t.Fatal(err)
		}
		arm(t, s, inject.Fault{Kind: inject.Refuse})
		limit, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wants(t, "Delete", p.Delete(limit, "mac-a"), fault.ProviderDown)
		s.Faults().Remove(0)
		if err := p.Delete(t.Context(), "mac-a"); err != nil {
			t.Error(err)
		}
		if got := vms(s); len(got) != 0 {
			t.Errorf("VMs %v are left", got)
		}
	})
}

// Without the records, as after the loss of a controller's Pod, everything is still found.
func TestEverythingIsFoundWithoutMemory(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, nil)
		cfg := config(t, s, door)
		if _, err := open(t, cfg, t.TempDir()).Create(t.Context(), spec("mac-a")); err != nil {
			t.Fatal(err)
		}
		p := open(t, cfg, t.TempDir())
		all, err := p.List(t.Context(), "tester")
		if err != nil || len(all) != 1 || all[0].Name != "mac-a" || all[0].Owner != "tester" {
			t.Errorf("List: %+v, %v", all, err)
		}
		if all, err := p.List(t.Context(), "somebody"); err != nil || len(all) != 0 {
			t.Errorf("List of another owner: %+v, %v", all, err)
		}
		other := spec("mac-a")
		other.Owner = "somebody"
		if _, err := p.Create(t.Context(), other); !fault.Is(err, fault.NameTaken) {
			t.Errorf("Create by another owner: %v", err)
		}
		p = open(t, cfg, t.TempDir())
		m, err := p.Create(t.Context(), spec("mac-a"))
		if err != nil {
			t.Fatal(err)
		}
		answers(t, m)
		if err := open(t, cfg, t.TempDir()).Delete(t.Context(), "mac-a"); err != nil {
			t.Error(err)
		}
		if got := vms(s); len(got) != 0 {
			t.Errorf("VMs %v are left", got)
		}
	})
}

// The doors give the same VMs the same names: what one has made the other finds.
func TestDoorsMayBeMixed(t *testing.T) {
	s := cluster(t, nil)
	for i, made := range doors {
		found := doors[1-i]
		if _, err := open(t, config(t, s, made), t.TempDir()).Create(t.Context(), spec("mac-a")); err != nil {
			t.Fatal(err)
		}
		p := open(t, config(t, s, found), t.TempDir())
		all, err := p.List(t.Context(), "tester")
		if err != nil || !slices.ContainsFunc(all, func(m machine.Machine) bool { return m.Name == "mac-a" }) {
			t.Errorf("made through %s, listed through %s: %v, %v", made, found, all, err)
		}
		if err := p.Delete(t.Context(), "mac-a"); err != nil || len(vms(s)) != 0 {
			t.Errorf("made through %s, deleted through %s: %v, left %v", made, found, err, vms(s))
		}
	}
}

func nodes(t *testing.T, cfg orka.Config) []string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cfg.Endpoint+"/api/v1/namespaces/orka-default/nodes", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+cfg.Token.Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct{ Items []struct{ Name string } }
	if err := jsonDecode(resp.Body, &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names
}
