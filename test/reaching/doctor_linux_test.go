package reaching

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/doctor"
)

// examined is what outrigger doctor finds from the cluster.
func (s *site) examined(config string) (all []doctor.Result) {
	s.t.Helper()
	stdout, stderr, _ := s.run(s.outrigger(config, "doctor", "--output", "json"))
	for line := range strings.Lines(stdout) {
		var l struct {
			Event string `json:"event"`
			doctor.Result
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			s.t.Fatalf("%q: %v\n%s", line, err, stderr)
		}
		if l.Event == "check" {
			all = append(all, l.Result)
		}
	}
	return all
}

// finds wants "check: state reason".
func (s *site) finds(all []doctor.Result, want ...string) {
	s.t.Helper()
	found := map[string]string{}
	for _, r := range all {
		found[r.Check] = strings.TrimSpace(fmt.Sprintf("%s %s", r.State, r.Reason))
	}
	for _, w := range want {
		if check, state, _ := strings.Cut(w, ": "); found[check] != state {
			s.t.Errorf("%s is %q, want %q in %+v", check, found[check], state, all)
		}
	}
}

// A VPN leads into the private network and back, for the addresses of nodes: it knows no way to those of
// Pods. So what a Pod sends gets an answer only if it is masqueraded.
func TestAPodThatIsNotMasqueraded(t *testing.T) {
	s := newSite(t)
	config := s.config(inside, "[]")
	s.finds(s.examined(config), "route: failed NoRoute", "ssh-port: skipped NotTried")

	const pod, vpn = "10.4.0.9", "10.77.0.0/24"
	s.must(s.cluster, "ip", "addr", "add", pod+"/32", "dev", "lo")
	s.must(s.cluster, "ip", "route", "add", vpn, "via", edge, "src", hubHost)
	node := s.examined(config)
	s.finds(node, "route: ok", "ssh-port: ok", "host-key: ok", "login: ok", "clock: ok")
	s.must(s.cluster, "ip", "route", "change", vpn, "via", edge, "src", pod)
	from := s.examined(config)
	s.finds(from, "route: ok", "ssh-port: failed Silent", "host-key: skipped NotTried")

	all := doctor.Beside(node, from, doctor.Cluster{GKE: true, MasqAgent: true})
	if len(all) != 1 || !strings.Contains(all[0].Found, "no packet comes back from "+inside) {
		t.Fatalf("the differences are %+v", all)
	}
	for _, want := range []string{"name: ip-masq-agent", "- 10.76.0.0/16", "- 10.77.1.0/24", "resyncInterval: 60s"} {
		if !strings.Contains(all[0].Cure, want) {
			t.Errorf("no %q in:\n%s", want, all[0].Cure)
		}
	}
	if strings.Contains(all[0].Cure, "- 10.77.0.0/24") {
		t.Errorf("what is sent there is still not masqueraded:\n%s", all[0].Cure)
	}
}

// What a proxy on the way says is told apart from what the machine does.
func TestADoctorBehindAProxy(t *testing.T) {
	s := newSite(t)
	s.start(s.private, "microsocks", "-i", edge, "-p", "1080", "-u", "ci", "-P", "right")
	s.listens(s.cluster, edge+":1080")
	right, wrong := s.file("right", "right\n"), s.file("wrong", "wrong\n")
	by := func(host, password string) []doctor.Result {
		return s.examined(s.config(host, fmt.Sprintf("[{url: socks5://%s:1080, user: ci, passwordFile: %s}]", edge, password)))
	}
	s.finds(by(inside, right), "name: skipped NotHere", "route: ok", "ssh-port: ok", "host-key: ok", "login: ok")
	s.finds(by(inside, wrong), "ssh-port: failed WayRefused", "login: skipped NotTried")
	s.finds(by(elsewhere, right), "ssh-port: failed WayDown")
}
