//go:build unix

package sshhost_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/providertest"
	"outrigger.dev/outrigger/internal/provider/sshhost"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/test/agents"
	"outrigger.dev/outrigger/test/sshd"
)

// hostOf describes a server as a configuration would.
func hostOf(t *testing.T, name string, s *sshd.Server, slots int) sshhost.Host {
	t.Helper()
	ep := s.Endpoint()
	return sshhost.Host{Name: name, Slots: slots, Login: sshhost.Login{
		Address: ep.Host, Port: ep.Port, User: ep.User, HostKeys: ep.HostKeys,
		KeyFiles: []string{s.Clients[0].File(t, t.TempDir(), "")},
	}}
}

func open(t *testing.T, hosts ...sshhost.Host) provider.Provider {
	t.Helper()
	return openWith(t, deliver.Dirs(agents.Dir(t)), hosts...)
}

func openWith(t *testing.T, built deliver.Source, hosts ...sshhost.Host) provider.Provider {
	t.Helper()
	p, err := sshhost.New("lab", sshhost.Config{Hosts: hosts}, built, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestContract(t *testing.T) {
	built := deliver.Dirs(agents.Dir(t))
	// Each part leaves the hosts as it found them, or fails.
	first, second := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	hosts := []sshhost.Host{hostOf(t, "first", first, 2), hostOf(t, "second", second, 2)}
	providertest.Run(t, func(*testing.T) providertest.Place {
		return providertest.Place{
			Open: func(t *testing.T) provider.Provider { return openWith(t, built, hosts...) },
			Max:  4,
			Left: func(t *testing.T) []string { return append(leases(t, first), leases(t, second)...) },
		}
	})
}

// leases returns the folders of leases on the host.
func leases(t *testing.T, s *sshd.Server) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Home, ".outrigger", "leases"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func spec(name machine.Name) machine.Spec {
	return machine.Spec{Name: name, Owner: "me", Expires: time.Now().Add(time.Hour)}
}

func create(t *testing.T, p provider.Provider, name machine.Name) machine.Machine {
	t.Helper()
	m, err := p.Create(t.Context(), spec(name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSlotsAreSpreadOverHosts(t *testing.T) {
	small, big := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	p := open(t, hostOf(t, "small", small, 1), hostOf(t, "big", big, 2))
	var got []string
	for _, name := range []machine.Name{"a", "b", "c"} {
		got = append(got, create(t, p, name).Labels["host"])
	}
	if s := strings.Join(got, " "); s != "big small big" {
		t.Errorf("machines on %s, want each on the host with most room", s)
	}
	_, err := p.Create(t.Context(), spec("d"))
	if !fault.Is(err, fault.NoCapacity) {
		t.Fatalf("got %v, want a fault of kind NoCapacity", err)
	}
	for _, s := range []string{"host small: ", "1 of 1 slots are held by b", "host big: ", "2 of 2 slots are held by a, c"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is missing in: %v", s, err)
		}
	}
}

func TestExpiredMachinesMakeRoom(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	p := open(t, hostOf(t, "mac", s, 1))
	dead := spec("dead")
	dead.Expires = time.Now().Add(-time.Minute)
	if _, err := p.Create(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	create(t, p, "next")
	if left := leases(t, s); len(left) != 1 || left[0] != "next" {
		t.Errorf("leases %v, want next alone", left)
	}
}

func TestMachineThatNeverExpires(t *testing.T) {
	p := open(t, hostOf(t, "mac", sshd.Start(t, sshd.Options{}), 1))
	m, err := p.Create(t.Context(), machine.Spec{Name: "a", Owner: "me"})
	if err != nil || time.Until(m.Expires) < 29*24*time.Hour {
		t.Errorf("expires %v, %v; want a month from now", m.Expires, err)
	}
}

func TestHostThatIsAway(t *testing.T) {
	here, away := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	p := open(t, hostOf(t, "here", here, 1), hostOf(t, "away", away, 5))
	away.Stop()
	if got := create(t, p, "a").Labels["host"]; got != "here" {
		t.Errorf("machine on %s, want here", got)
	}
	all, err := p.List(t.Context(), "me")
	if len(all) != 1 || !fault.Is(err, fault.ProviderDown) || !strings.Contains(err.Error(), "host away") || strings.Contains(err.Error(), "host here") {
		t.Errorf("List: %v, %v; want the machine and an error that names away", all, err)
	}
	if _, err := p.Create(t.Context(), spec("b")); !fault.Is(err, fault.NoCapacity) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Create: %v; want NoCapacity, and why away does not count", err)
	}
	if _, err := p.Get(t.Context(), "other"); !fault.Is(err, fault.ProviderDown) {
		t.Errorf("Get of a machine that may be on the host that is away: %v", err)
	}
	if err := p.Delete(t.Context(), "other"); !fault.Is(err, fault.ProviderDown) {
		t.Errorf("Delete of a machine that may be on the host that is away: %v", err)
	}
	if err := p.Delete(t.Context(), "a"); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

// A provider that has just started knows nothing; who has written down where a
// machine is tells it, and a host that is away holds up nobody else's machines.
func TestReminded(t *testing.T) {
	here, away := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	hosts := []sshhost.Host{hostOf(t, "here", here, 1), hostOf(t, "away", away, 1)}
	at := create(t, open(t, hosts...), "a").Endpoint
	if at.Port != here.Endpoint().Port {
		away = here
	}
	away.Stop()
	p := open(t, hosts...)
	r, ok := provider.As[provider.Reminded](p)
	if !ok {
		t.Fatal("cannot be reminded")
	}
	for range 2 { // the second time it is there no more
		r.Remind("a", at)
		if err := p.Delete(t.Context(), "a"); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	r.Remind("a", at)
	if _, err := p.Get(t.Context(), "a"); !fault.Is(err, fault.UnknownMachine) {
		t.Errorf("Get: %v; want UnknownMachine", err)
	}
	r.Remind("b", machine.Endpoint{Host: "192.0.2.1", Port: 22})
	if err := p.Delete(t.Context(), "b"); !fault.Is(err, fault.ProviderDown) {
		t.Errorf("Delete of a machine at an address that no host has: %v", err)
	}
}

// dials counts the connections to each port.
type dials struct {
	mu sync.Mutex
	n  map[string]int
}

func (d *dials) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.n[address]++
	d.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, address)
}

func (d *dials) total() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, one := range d.n {
		n += one
	}
	return n
}

// Who asks for a machine of which it is known where it is logs in there and nowhere else: N machines on N hosts cost
// N logins. It is known to who made it or saw it, and to who was reminded.
func TestAMachineIsAskedForWhereItIs(t *testing.T) {
	var hosts []sshhost.Host
	for i := range 3 {
		hosts = append(hosts, hostOf(t, fmt.Sprint("host", i), sshd.Start(t, sshd.Options{}), 1))
	}
	newProvider := func() (provider.Provider, *dials) {
		d := &dials{n: map[string]int{}}
		p, err := sshhost.New("lab", sshhost.Config{Hosts: hosts, Dial: d.dial}, deliver.Dirs(agents.Dir(t)), nil)
		if err != nil {
			t.Fatal(err)
		}
		return p, d
	}
	names := []machine.Name{"a", "b", "c"}
	maker, made := newProvider()
	at := map[machine.Name]machine.Endpoint{}
	for _, name := range names {
		at[name] = create(t, maker, name).Endpoint
	}
	reminded, again := newProvider()
	for _, name := range names {
		reminded.(provider.Reminded).Remind(name, at[name])
	}
	asker, seen := newProvider()
	for _, name := range names {
		if _, err := asker.Get(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for who, p := range map[string]struct {
		provider.Provider
		*dials
	}{"who made them": {maker, made}, "who was reminded": {reminded, again}, "who has seen them": {asker, seen}} {
		before := p.total()
		for _, name := range names {
			if m, err := p.Get(t.Context(), name); err != nil || m.Endpoint.Port != at[name].Port {
				t.Errorf("%s: %+v, %v", who, m, err)
			}
		}
		if n := p.total() - before; n != len(names) {
			t.Errorf("%s: %d connections for %d machines", who, n, len(names))
		}
	}
}

// What List could not see it says, so that nobody takes machines for lost.
func TestListSaysWhatItCouldNotSee(t *testing.T) {
	here, away := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	p := open(t, hostOf(t, "here", here, 1), hostOf(t, "away", away, 1))
	create(t, p, "a")
	create(t, p, "b")
	gone := away.Endpoint().Address()
	away.Stop()
	all, err := p.List(t.Context(), "me")
	var partial *provider.PartialError
	if !errors.As(err, &partial) || len(partial.Unseen) != 1 || partial.Unseen[0].Address() != gone {
		t.Errorf("%v, %+v; want that %s was not seen", err, partial, gone)
	}
	if len(all) != 1 || all[0].Endpoint.Address() != here.Endpoint().Address() {
		t.Errorf("got %+v; want the machine of the other host", all)
	}
}

// A host that is switched off behind a router answers nothing at all.
func TestHostThatIsSilentHoldsUpNobody(t *testing.T) {
	here := sshd.Start(t, sshd.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // the kernel accepts, and nobody says anything
	silent := hostOf(t, "silent", here, 5)
	silent.Port = ln.Addr().(*net.TCPAddr).Port
	p := open(t, silent, hostOf(t, "here", here, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Second) // one connection may take 20 seconds
	defer cancel()
	m, err := p.Create(ctx, spec("a"))
	if err != nil || m.Labels["host"] != "here" {
		t.Fatalf("Create: %+v, %v", m, err)
	}
	if _, err := p.Get(ctx, "a"); err != nil {
		t.Errorf("Get: %v", err)
	}
	if err := p.Delete(ctx, "a"); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func TestTheOnlyHostSpeaksForItself(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	changed := hostOf(t, "mac", s, 1)
	changed.HostKeys = []string{sshd.NewKey(t, "ed25519").Line()}
	stranger := hostOf(t, "mac", s, 1)
	stranger.KeyFiles = []string{sshd.NewKey(t, "ed25519").File(t, t.TempDir(), "")}
	gone := hostOf(t, "mac", s, 1)
	gone.Port = 1
	for kind, h := range map[fault.Kind]sshhost.Host{fault.HostKey: changed, fault.AuthRefused: stranger, fault.Unreachable: gone} {
		p := open(t, h)
		_, err := p.Create(t.Context(), spec("a"))
		_, listErr := p.List(t.Context(), "")
		_, getErr := p.Get(t.Context(), "a")
		for what, err := range map[string]error{"Create": err, "List": listErr, "Get": getErr, "Delete": open(t, h).Delete(t.Context(), "a")} {
			if !fault.Is(err, kind) || !strings.Contains(err.Error(), "host mac") {
				t.Errorf("%s: got %v, want a fault of kind %s that names the host", what, err, kind)
			}
		}
		if err := p.Delete(t.Context(), "a"); err != nil {
			t.Errorf("Delete by who asked no host for a slot: %v, want nil: there is nothing to delete", err)
		}
	}
}

func TestJumpAndRoot(t *testing.T) {
	jump, s := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	h := hostOf(t, "mac", s, 1)
	h.Jump = []sshhost.Login{hostOf(t, "", jump, 0).Login}
	h.Root = s.Dir(t) + "/og"
	h.OS, h.Labels = "linux", map[string]string{"rack": "7"}
	p := open(t, h)
	m := create(t, p, "a")
	if len(m.Endpoint.Jumps) != 1 || m.Endpoint.Root != h.Root || m.Labels["rack"] != "7" || m.Labels["os"] != "linux" {
		t.Errorf("got %+v", m)
	}
	if _, err := os.Stat(filepath.Join(h.Root, "leases", "a")); err != nil {
		t.Error(err)
	}
}

// The mark is on the host: what a client of another owner sees, and may not do.
func TestLeaseBelongsToItsOwner(t *testing.T) {
	p := open(t, hostOf(t, "mac", sshd.Start(t, sshd.Options{}), 2))
	create(t, p, "a")
	theirs := spec("a")
	theirs.Owner = "they"
	if _, err := p.Create(t.Context(), theirs); !fault.Is(err, fault.NameTaken) {
		t.Errorf("got %v, want a fault of kind NameTaken", err)
	}
}

// Whoever gets to the agent of the host by another key, as a claim does that runs as the login, cannot see, use or give back
// the leases that stand for slots; they take their room all the same.
func TestSlotsAreOfWhoTookThem(t *testing.T) {
	built, host := deliver.Dirs(agents.Dir(t)), hostOf(t, "mac", sshd.Start(t, sshd.Options{}), 1)
	as := func(secret string) provider.Provider {
		p, err := sshhost.New("lab", sshhost.Config{Hosts: []sshhost.Host{host}, Secret: machine.NewSecret(secret)}, built, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ours := as("of the controller")
	create(t, ours, "a")
	for _, secret := range []string{"", "of a claim"} {
		theirs := as(secret)
		if all, err := theirs.List(t.Context(), ""); err != nil || len(all) > 0 {
			t.Errorf("with key %q: %v, %v; want nothing to be seen", secret, all, err)
		}
		if m, err := theirs.Create(t.Context(), spec("a")); err == nil {
			t.Errorf("with key %q: got %+v", secret, m)
		}
		if _, err := theirs.Create(t.Context(), spec("b")); !fault.Is(err, fault.NoCapacity) {
			t.Errorf("with key %q: got %v, want that the slot is taken", secret, err)
		}
		if err := theirs.Delete(t.Context(), "a"); err != nil {
			t.Logf("with key %q: %v", secret, err)
		}
		if _, err := ours.Get(t.Context(), "a"); err != nil {
			t.Errorf("with key %q the slot was given back: %v", secret, err)
		}
	}
	if err := ours.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	create(t, as(""), "b")
}

func TestConfig(t *testing.T) {
	ok := sshhost.Login{Address: "mac"}
	for _, tt := range []struct {
		name string
		cfg  sshhost.Config
		says string
	}{
		{"no hosts", sshhost.Config{}, "lists no hosts"},
		{"no address", sshhost.Config{Hosts: []sshhost.Host{{Name: "a"}}}, "host 1: has no address"},
		{"two of one name", sshhost.Config{Hosts: []sshhost.Host{{Login: ok}, {Name: "mac", Login: ok}}}, "host mac: is listed twice"},
		{"no such slots", sshhost.Config{Hosts: []sshhost.Host{{Login: ok, Slots: -1}}}, "-1 slots"},
		{"a host key that is none", sshhost.Config{Hosts: []sshhost.Host{{Login: sshhost.Login{Address: "mac", HostKeys: []string{"ssh-ed25519 AAAA"}}}}}, "host key \"ssh-ed25519 AAAA\""},
		{"an address with user and port", sshhost.Config{Hosts: []sshhost.Host{{Login: sshhost.Login{Address: "ci@mac:22"}}}}, `"ci@mac:22" is no host name`},
		{"an address with a port", sshhost.Config{Hosts: []sshhost.Host{{Login: sshhost.Login{Address: "mac:22"}}}}, `"mac:22"`},
		{"a URL", sshhost.Config{Hosts: []sshhost.Host{{Login: sshhost.Login{Address: "ssh://mac"}}}}, `"ssh://mac"`},
		{"a jump host with a user in its address", sshhost.Config{Hosts: []sshhost.Host{{Login: ok, Jump: []sshhost.Login{{Address: "ci@gate"}}}}}, `jump host of`},
		{"a jump host without an address", sshhost.Config{Hosts: []sshhost.Host{{Login: ok, Jump: []sshhost.Login{{}}}}}, "jump host has no address"},
	} {
		if _, err := sshhost.New("lab", tt.cfg, deliver.Source{}, nil); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want a fault of kind Config with %q", tt.name, err, tt.says)
		}
	}
}

// An alias of ~/.ssh/config is the host that it stands for, with its user, port, key, known hosts
// and jump host; what the configuration says itself wins.
func TestAlias(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	gate, mac := sshd.Start(t, sshd.Options{}), sshd.Start(t, sshd.Options{})
	dir := filepath.Join(home, ".ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lines := ""
	for i, s := range []*sshd.Server{gate, mac} {
		ep := s.Endpoint()
		key := filepath.Join(dir, fmt.Sprintf("key%d", i))
		if err := os.WriteFile(key, []byte(ep.Auth.Keys[0].Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
		// One is known by its port, in the usual file, and one by an alias, in another.
		known := []string{fmt.Sprintf("[127.0.0.1]:%d", ep.Port), "lab-mini"}[i] + " " + ep.HostKeys[0] + "\n"
		if err := os.WriteFile(filepath.Join(dir, []string{"known_hosts", "lab_hosts"}[i]), []byte(known), 0o600); err != nil {
			t.Fatal(err)
		}
		lines += fmt.Sprintf("Host %s\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  IdentityFile %s\n  UserKnownHostsFile %s %s\n",
			[]string{"gate", "mini*"}[i], ep.Port, ep.User, key, filepath.Join(dir, "known_hosts"), filepath.Join(dir, "lab_hosts"))
	}
	config := "Host mini*\n  ProxyJump gate\n  HostKeyAlias lab-mini\n" + lines
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := sshhost.New("lab", sshhost.Config{Hosts: []sshhost.Host{{Name: "m", Login: sshhost.Login{Address: "mini-7"}}}},
		deliver.Dirs(agents.Dir(t)), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.Create(t.Context(), machine.Spec{Name: "box", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if ep := m.Endpoint; ep.Port != mac.Port || len(ep.Jumps) != 1 || ep.Jumps[0].Port != gate.Port {
		t.Errorf("endpoint %s with jumps %v, want port %d through %d", ep.Address(), ep.Jumps, mac.Port, gate.Port)
	}
	if err := p.Delete(t.Context(), "box"); err != nil {
		t.Fatal(err)
	}
	own := sshhost.Login{Address: "mini-7", User: "somebody"}
	places, err := (&sshhost.Config{Hosts: []sshhost.Host{{Login: own}}}).Places()
	if err != nil || len(places) != 1 || places[0].Endpoint.User != "somebody" {
		t.Errorf("places %v, %v, want the user of the configuration", places, err)
	}
}

// A login that says nothing is that of the user who runs Outrigger.
func TestDefaultLogin(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	s := sshd.Start(t, sshd.Options{})
	ep := s.Endpoint()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	locked := sshd.NewKey(t, "ecdsa").File(t, t.TempDir(), "secret")
	b, err := os.ReadFile(locked)
	if err != nil {
		t.Fatal(err)
	}
	write("id_ecdsa", string(b)) // has a passphrase, and nobody named it: it is passed over
	write("id_ed25519", s.Clients[0].PEM)
	write("known_hosts", "["+ep.Host+"]:"+strings.TrimPrefix(ep.Address(), ep.Host+":")+" "+ep.HostKeys[0]+"\n")
	p := open(t, sshhost.Host{Login: sshhost.Login{Address: ep.Host, Port: ep.Port, User: ep.User}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := p.Create(ctx, spec("a")); err != nil {
		t.Error(err)
	}
}
