package doctor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/doctor"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// row finds a check.
func row(t *testing.T, table []doctor.Check, name string) doctor.Check {
	t.Helper()
	i := slices.IndexFunc(table, func(c doctor.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check is called %s", name)
	}
	return table[i]
}

// orka are the facts of one that is well.
func orka() doctor.Facts {
	return doctor.Facts{
		Subject: "provider macs", Provider: "macs", Kind: doctor.Orka, Now: noon,
		Target: doctor.Target{Scheme: "http", Host: "10.221.188.20", Port: 80},
		Lookup: &doctor.Lookup{Literal: true, IPs: []string{"10.221.188.20"}},
		Route:  &doctor.Route{IP: "10.221.188.20", Source: "10.8.0.2", Interface: "wg0"},
		Dial:   &doctor.Dial{IP: "10.221.188.20", Took: 12 * time.Millisecond, Limit: 5 * time.Second},
		API:    &doctor.API{Kube: "https://10.221.188.19:6443"},
		Token:  &doctor.Token{Subject: "orka-default:ci", Now: noon, Ends: noon.AddDate(1, 0, 0), Accepted: true},
		Kube:   &doctor.Kube{Door: "auto", Versions: []string{"v1"}, Listed: true},
		Image:  &doctor.Image{Name: "sequoia.img", Asked: true, There: true, State: "Ready", Known: true, On: 2, Nodes: 2},
		Room:   &doctor.Room{Known: true, Some: true, Nodes: 2, Ready: 2, Fit: 2, CPU: 9, Used: 2},
	}
}

// machine are the facts of a Mac that is well.
func machine() doctor.Facts {
	return doctor.Facts{
		Subject: "machine mac-7", Provider: "macs", Kind: doctor.Orka, Now: noon,
		Target:  doctor.Target{Scheme: "ssh", Host: "10.221.189.13", Port: 8822},
		Dial:    &doctor.Dial{IP: "10.221.189.13", Took: time.Millisecond, Limit: 5 * time.Second},
		HostKey: &doctor.HostKey{Found: "SHA256:abc (ssh-ed25519)", Wanted: "known"},
		Login:   &doctor.Login{User: "admin", Took: 80 * time.Millisecond},
		State:   &doctor.MachineState{OS: "darwin", User: "admin", Sudo: "sudo", Console: "admin", Free: 50 << 30, Timed: true},
	}
}

func TestJudge(t *testing.T) {
	trouble := func(r doctor.Reason, text string) *doctor.Trouble { return &doctor.Trouble{Reason: r, Text: text} }
	for _, tt := range []struct {
		check  string
		change func(*doctor.Facts)
		want   string // state, reason, what was found
	}{
		{"name", func(f *doctor.Facts) {}, "ok: 10.221.188.20 is an address"},
		{"name", func(f *doctor.Facts) {
			f.Lookup = &doctor.Lookup{Trouble: trouble(doctor.NoName, "no such host")}
			f.Target.Host = "orka.lan"
		}, "failed NoName: orka.lan: no such host"},
		{"name", func(f *doctor.Facts) { f.Target.Via = "socks5://p:1080" }, "skipped NotHere: 10.221.188.20: is looked up by socks5://p:1080"},
		{"route", func(f *doctor.Facts) {}, "ok: private address 10.221.188.20, from 10.8.0.2 (wg0)"},
		{"route", func(f *doctor.Facts) { f.Route.Trouble = trouble(doctor.NoRoute, "network is unreachable") }, "failed NoRoute: 10.221.188.20: network is unreachable"},
		{"tcp", func(f *doctor.Facts) {}, "ok: 10.221.188.20:80: connected in 12ms"},
		{"tcp", func(f *doctor.Facts) { f.Dial.Trouble = trouble(doctor.Silent, "i/o timeout") }, "failed Silent: 10.221.188.20:80: no answer within 5s"},
		{"tcp", func(f *doctor.Facts) { f.Dial.Trouble = trouble(doctor.Refused, "connection refused") }, "failed Refused: 10.221.188.20:80: connection refused"},
		{"tls", func(f *doctor.Facts) {}, "skipped NotHere: none: the endpoint is http://"},
		{"tls", func(f *doctor.Facts) { f.Dial.IP = "203.0.113.9" }, "warning PlainText: none: the endpoint is http:// at the public address 203.0.113.9"},
		{"tls", func(f *doctor.Facts) {
			f.Target.Scheme, f.TLS = "https", &doctor.TLS{Subject: "acme.orka.app", Issuer: "R3", Ends: noon.AddDate(0, 0, 3)}
		}, "warning CertEnds: certificate of acme.orka.app ends on 2026-11-30, in 3 days"},
		{"tls", func(f *doctor.Facts) {
			f.Target.Scheme, f.TLS = "https", &doctor.TLS{Trouble: trouble(doctor.Untrusted, "signed by unknown authority")}
		}, "failed Untrusted: signed by unknown authority"},
		{"api-version", func(f *doctor.Facts) {}, "ok: Orka 3, REST API; Kubernetes API at https://10.221.188.19:6443"},
		{"api-version", func(f *doctor.Facts) {
			f.API = &doctor.API{Code: 404, Legacy: "2.4.3", Trouble: trouble(doctor.Other, "404")}
		}, "failed OldAPI: Orka 2.4.3, want 3 or newer"},
		{"api-version", func(f *doctor.Facts) { f.API = &doctor.API{Code: 404, Trouble: trouble(doctor.Other, "404 Not Found")} }, "failed NoAPI: cluster-info: 404 Not Found"},
		{"api-version", func(f *doctor.Facts) { f.API = &doctor.API{NotJSON: true, Trouble: trouble(doctor.Other, "no JSON")} }, "failed OtherAPI: cluster-info: no JSON"},
		{"token", func(f *doctor.Facts) {}, "ok: orka-default:ci: accepted; ends on 2027-11-27, in 365 days"},
		{"token", func(f *doctor.Facts) { f.Token.Ends = noon.Add(-2 * time.Hour) }, "failed TokenEnded: orka-default:ci: ended on 2026-11-27T10:00:00Z, 2 hours ago"},
		{"token", func(f *doctor.Facts) { f.Token.Ends = noon.Add(70 * time.Hour) }, "warning TokenEnds: orka-default:ci: accepted; ends on 2026-11-30T10:00:00Z, in 2 days"},
		{"token", func(f *doctor.Facts) { f.Token.Ends = noon.Add(50 * time.Minute) }, "ok: orka-default:ci: accepted; ends on 2026-11-27, in 50m0s"},
		{"token", func(f *doctor.Facts) { f.Token.Code, f.Token.Trouble = 401, trouble(doctor.Other, "401 Unauthorized") }, "failed TokenRefused: orka-default:ci: refused: 401 Unauthorized"},
		{"token", func(f *doctor.Facts) { f.Token = &doctor.Token{Missing: true} }, "failed TokenMissing: there is none"},
		{"token", func(f *doctor.Facts) { f.KeptBack = "it stays" }, "skipped KeptBack: it stays"},
		{"kubernetes-api", func(f *doctor.Facts) {}, "ok: orka.macstadium.com/v1, used for machines"},
		{"kubernetes-api", func(f *doctor.Facts) { f.Kube.Trouble = trouble(doctor.Silent, "timeout") }, "warning Silent: timeout"},
		{"kubernetes-api", func(f *doctor.Facts) { f.Kube.Door, f.Kube.Trouble = "kubernetes", trouble(doctor.Silent, "timeout") }, "failed Silent: timeout"},
		{"kubernetes-api", func(f *doctor.Facts) { f.Kube.Versions = []string{"v2"} }, "warning OtherAPI: serves orka.macstadium.com in versions v2, want v1"},
		{"permission create VMs", func(f *doctor.Facts) {}, "warning Unknown: cannot be asked without doing it"},
		{"permission watch VMs", func(f *doctor.Facts) {}, "skipped Unknown: cannot be asked; needed for: changes of a machine are waited for"},
		{"image", func(f *doctor.Facts) {}, "ok: sequoia.img: is there"},
		{"image", func(f *doctor.Facts) { f.Image.There = false }, "failed NoImage: sequoia.img: is not there"},
		{"image", func(f *doctor.Facts) { f.Image.State, f.Image.Error = "Failed", "disk full" }, "failed ImageState: sequoia.img: is Failed: disk full"},
		{"image", func(f *doctor.Facts) { f.Image.Registry = true }, "ok: sequoia.img: is fetched from its registry, which nobody here asks"},
		{"image-cached", func(f *doctor.Facts) {}, "ok: sequoia.img: on all 2 nodes"},
		{"image-cached", func(f *doctor.Facts) { f.Image.On = 1 }, "warning HalfCached: sequoia.img: on 1 of 2 nodes"},
		{"image-cached", func(f *doctor.Facts) { f.Image.On = 0 }, "warning NotCached: sequoia.img: on none of 2 nodes"},
		{"capacity", func(f *doctor.Facts) {}, "ok: 2 of 2 nodes ready, 9 CPUs free, 2 VMs"},
		{"capacity", func(f *doctor.Facts) { f.Room = &doctor.Room{Known: true, Fit: 2, Words: "all full"} }, "warning NoCapacity: all full"},
		{"capacity", func(f *doctor.Facts) { f.Room = &doctor.Room{Known: true, Words: "namespace x has no nodes"} }, "failed NoNodes: namespace x has no nodes"},
		{"nodes", func(f *doctor.Facts) {
			f.Nodes = []doctor.Node{{Name: "m1", Address: "10.221.189.1:8822", Dial: doctor.Dial{Trouble: trouble(doctor.Refused, "")}}}
		}, "ok: all 1 answer"},
		{"nodes", func(f *doctor.Facts) {
			f.Nodes = []doctor.Node{{Name: "m1", Address: "10.221.189.1:8822", Dial: doctor.Dial{Trouble: trouble(doctor.Silent, "")}}}
		}, "failed Silent: none answers: m1 (10.221.189.1:8822)"},
	} {
		f := orka()
		tt.change(&f)
		same(t, doctor.Judge(row(t, doctor.Place, tt.check), f), tt.want)
	}
	for _, tt := range []struct {
		check  string
		change func(*doctor.Facts)
		want   string
	}{
		{"ssh-port", func(f *doctor.Facts) { f.Dial.Trouble = trouble(doctor.Silent, "") }, "failed Silent: 10.221.189.13:8822: no answer within 5s"},
		{"host-key", func(f *doctor.Facts) {}, "ok: SHA256:abc (ssh-ed25519), as it is known"},
		{"host-key", func(f *doctor.Facts) { f.HostKey.Wanted = "" }, "warning KeyUnpinned: SHA256:abc (ssh-ed25519); it is pinned nowhere here"},
		{"host-key", func(f *doctor.Facts) { f.HostKey.Trouble = trouble(doctor.KeyChanged, "is another") }, "failed KeyChanged: is another"},
		{"login", func(f *doctor.Facts) {}, "ok: user admin, in 80ms"},
		{"login", func(f *doctor.Facts) { f.Login.Trouble = trouble(doctor.LoginRefused, "refused") }, "failed LoginRefused: refused"},
		{"login", func(f *doctor.Facts) { f.Login.Trouble = trouble(doctor.KeptBack, "it stays") }, "skipped KeptBack: it stays"},
		{"sudo", func(f *doctor.Facts) {}, "ok: admin becomes root without a password"},
		{"sudo", func(f *doctor.Facts) { f.State.Sudo = "password" }, "warning SudoWithPassword: admin becomes root with its password"},
		{"sudo", func(f *doctor.Facts) { f.State.Sudo = "none" }, "warning NoSudo: admin does not become root"},
		{"sudo", func(f *doctor.Facts) { f.State.OS = "windows" }, "skipped NotHere: Windows has none"},
		{"session", func(f *doctor.Facts) {}, "ok: admin is logged in at the screen: what runs there will have a window server"},
		{"session", func(f *doctor.Facts) { f.State.Agent, f.State.Session = true, "aqua" }, "ok: aqua: what runs has a window server"},
		{"session", func(f *doctor.Facts) { f.State.Agent, f.State.Session = true, "background" }, "warning Background: what runs is in a session of kind background, although admin is logged in at the screen"},
		{"session", func(f *doctor.Facts) { f.State.Console = "root" }, "warning NobodyLoggedIn: nobody is logged in at the screen"},
		{"session", func(f *doctor.Facts) { f.State.Console = "eve" }, "warning SomebodyElse: eve is logged in at the screen, and we log in as admin"},
		{"session", func(f *doctor.Facts) { f.State.OS = "linux" }, "ok: an SSH session"},
		{"disk", func(f *doctor.Facts) {}, "ok: 50.0 GiB free"},
		{"disk", func(f *doctor.Facts) { f.State.Free = 1 << 30 }, "warning DiskLow: 1.0 GiB free"},
		{"disk", func(f *doctor.Facts) { f.State.Free = 10 << 20 }, "failed DiskFull: 0.0 GiB free"},
		{"disk", func(f *doctor.Facts) { f.State.Free = -1 }, "warning Unknown: the machine does not say how much is free"},
		{"clock", func(f *doctor.Facts) {}, "ok: right"},
		{"clock", func(f *doctor.Facts) { f.State.Skew = 30 * time.Second }, "warning ClockWrong: 30s ahead of that of this computer"},
		{"clock", func(f *doctor.Facts) { f.State.Skew = -2 * time.Hour; f.Pod = true }, "failed ClockWrong: 2h0m0s behind that of this Pod"},
		{"clock", func(f *doctor.Facts) { f.State = &doctor.MachineState{Trouble: trouble(doctor.Other, "no shell")} }, "warning Unknown: no shell"},
	} {
		f := machine()
		tt.change(&f)
		same(t, doctor.Judge(row(t, doctor.Machine, tt.check), f), tt.want)
	}
}

func same(t *testing.T, r doctor.Result, want string) {
	t.Helper()
	got := string(r.State)
	if r.Reason != "" {
		got += " " + string(r.Reason)
	}
	if got += ": " + r.Found; got != want {
		t.Errorf("%s: %s, want %s", r.Check, got, want)
	}
	if (r.State == doctor.Failed || r.State == doctor.Warning) && (r.Cause == "" || r.Cure == "") && r.Reason != doctor.KeyChanged {
		t.Errorf("%s: %s %s has no cause or no cure", r.Check, r.State, r.Reason)
	}
	if strings.ContainsAny(r.Cause+r.Cure, "{}") {
		t.Errorf("%s: words are left to be filled in: %s %s", r.Check, r.Cause, r.Cure)
	}
}

func TestPermissionsAreJudgedOneByOne(t *testing.T) {
	f := orka()
	for _, n := range doctor.Needed {
		f.Grants = append(f.Grants, doctor.Grant{Need: n, Asked: true, Allowed: n.Verb == "list" || n.Verb == "get" || n.Verb == "watch"})
	}
	var got []string
	for _, c := range doctor.Place {
		if strings.HasPrefix(c.Name, "permission ") {
			r := doctor.Judge(c, f)
			got = append(got, string(r.State)+" "+strings.TrimPrefix(c.Name, "permission "))
		}
	}
	want := []string{
		"ok list VMs", "ok get VMs", "ok watch VMs", "failed create VMs", "failed delete VMs", "ok list nodes", "ok get images",
		"warning create images", "warning delete images", "ok list pods",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a token that may only look (-want +got):\n%s", diff)
	}
}

func TestWhatNeedsAFailureIsNotTried(t *testing.T) {
	f := orka()
	f.Dial.Trouble = &doctor.Trouble{Reason: doctor.Silent}
	var done []doctor.Result
	for _, c := range doctor.For(doctor.Place, doctor.Orka) {
		r, blocked := doctor.Blocked(c, f, done)
		if !blocked {
			r = doctor.Judge(c, f)
		}
		done = append(done, r)
		if i := slices.Index([]string{"name", "route", "tcp"}, c.Name); i < 0 && (r.State != doctor.Skipped || r.Found != "not tried: tcp has failed") {
			t.Errorf("%s is %s: %s", c.Name, r.State, r.Found)
		}
	}
}

// Every table names only checks that come before, and every remedy can be filled in.
func TestTablesAreWhole(t *testing.T) {
	for name, table := range map[string][]doctor.Check{"place": doctor.Place, "machine": doctor.Machine} {
		var before []string
		for _, c := range table {
			for _, n := range c.Needs {
				if !slices.Contains(before, n) {
					t.Errorf("%s: %s needs %s, which does not come before it", name, c.Name, n)
				}
			}
			before = append(before, c.Name)
			for reason, m := range c.Remedies {
				if m.Cause == "" || m.Cure == "" {
					t.Errorf("%s: %s: %s: has no cause or no cure", name, c.Name, reason)
				}
			}
		}
	}
}

// The lists are checked address by address against what they are to say.
func TestTheListLeavesOutTheSiteAndNothingElse(t *testing.T) {
	all := doctor.NotMasqueraded(nil, nil)
	got := doctor.NotMasqueraded(nil, []string{"10.221.188.20", "10.221.189.13", "10.221.188.99"})
	for _, tt := range []struct {
		address string
		in      bool
	}{
		{"10.221.188.20", false}, {"10.221.188.0", false}, {"10.221.188.255", false}, {"10.221.189.255", false},
		{"10.221.187.255", true}, {"10.221.190.0", true}, {"10.0.0.0", true}, {"10.255.255.255", true}, {"172.16.0.1", true}, {"192.168.1.1", true}, {"100.64.0.1", true}, {"240.0.0.1", true},
		{"8.8.8.8", false}, {"11.0.0.0", false},
	} {
		if contains(t, got, tt.address) != tt.in {
			t.Errorf("%s: in the list: %t, want %t", tt.address, !tt.in, tt.in)
		}
		if tt.in && !contains(t, all, tt.address) {
			t.Errorf("%s is not in GKE's own list", tt.address)
		}
	}
	if len(got) > 64 {
		t.Errorf("%d entries are more than ip-masq-agent takes", len(got))
	}
	if own := doctor.NotMasqueraded([]string{"10.4.0.0/14", "10.8.0.0/20"}, []string{"10.221.188.20"}); !slices.Equal(own, []string{"10.4.0.0/14", "10.8.0.0/20"}) {
		t.Errorf("a list without the site became %v", own)
	}
}

func contains(t *testing.T, list []string, address string) bool {
	t.Helper()
	for _, c := range list {
		if prefix(t, c).Contains(addr(t, address)) {
			return true
		}
	}
	return false
}

func TestBeside(t *testing.T) {
	result := func(check string, s doctor.State, r doctor.Reason, ip string) doctor.Result {
		out := doctor.Result{Subject: "pool macs", Check: check, State: s, Reason: r, Found: "found", Cause: "cause", Cure: "cure", Address: ip + ":80"}
		if ip != "" {
			out.IPs = []string{ip}
		}
		return out
	}
	gke := doctor.Cluster{GKE: true, MasqAgent: true, Namespace: "ci"}
	for _, tt := range []struct {
		name      string
		here, pod []doctor.Result
		cluster   doctor.Cluster
		want      []string // what the differences say, one after the other
	}{
		{"the same", []doctor.Result{result("tcp", doctor.OK, "", "10.1.2.3")}, []doctor.Result{result("tcp", doctor.OK, "", "10.1.2.3")}, gke, nil},
		{"neither", []doctor.Result{result("tcp", doctor.Failed, doctor.Silent, "10.1.2.3")}, []doctor.Result{result("tcp", doctor.Failed, doctor.Silent, "10.1.2.3")}, gke, nil},
		{"masquerading", []doctor.Result{result("tcp", doctor.OK, "", "10.1.2.3")}, []doctor.Result{result("tcp", doctor.Failed, doctor.Silent, "10.1.2.3")}, gke,
			[]string{"not from a Pod: no packet comes back from 10.1.2.3", "the Pod's own address", "GKE's default", "name: ip-masq-agent", "    - 10.1.0.0/23", "    - 10.1.3.0/24", "resyncInterval: 60s", "egressnatpolicies"}},
		{"another cluster", []doctor.Result{result("ssh-port", doctor.OK, "", "10.1.2.3")}, []doctor.Result{result("ssh-port", doctor.Failed, doctor.Silent, "10.1.2.3")}, doctor.Cluster{},
			[]string{"10.1.2.0/24", "natOutgoing", "outpost"}},
		{"a policy", []doctor.Result{result("tcp", doctor.OK, "", "10.1.2.3")}, []doctor.Result{result("tcp", doctor.Failed, doctor.Silent, "10.1.2.3")}, doctor.Cluster{Namespace: "ci", Policies: []string{"deny-all"}},
			[]string{"NetworkPolicy deny-all of namespace ci", "Allow egress to 10.1.2.3", "masquerade"}},
		{"a public address", []doctor.Result{result("tcp", doctor.OK, "", "203.0.113.7")}, []doctor.Result{result("tcp", doctor.Failed, doctor.Silent, "203.0.113.7")}, gke,
			[]string{"a firewall on the way", "NAT gateway"}},
		{"a name", []doctor.Result{result("name", doctor.OK, "", "")}, []doctor.Result{result("name", doctor.Failed, doctor.NoName, "")}, gke, []string{"name servers", "CoreDNS"}},
		{"refused", []doctor.Result{result("tcp", doctor.OK, "", "10.1.2.3")}, []doctor.Result{result("tcp", doctor.Failed, doctor.Refused, "10.1.2.3")}, gke, []string{"a firewall on the way refuses", "cluster-cidr"}},
		{"only from the Pod", []doctor.Result{result("tcp", doctor.Failed, doctor.Silent, "10.1.2.3")}, []doctor.Result{result("tcp", doctor.OK, "", "10.1.2.3")}, gke,
			[]string{"reachable from a Pod, but not from here", "Nothing for Pods"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text string
			all := doctor.Beside(tt.here, tt.pod, tt.cluster)
			for _, d := range all {
				text += fmt.Sprintln(d.Found) + fmt.Sprintln(d.Cause) + fmt.Sprintln(d.Cure)
			}
			if len(tt.want) == 0 && text != "" {
				t.Errorf("differs, and should not: %s", text)
			}
			rest := text
			for _, w := range tt.want {
				_, after, found := strings.Cut(rest, w)
				if !found {
					t.Fatalf("no %q in:\n%s", w, text)
				}
				rest = after
			}
		})
	}
}
