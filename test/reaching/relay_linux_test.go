package reaching

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/control/places"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/reach/via"
)

// relay runs the relay of a Pod that holds the claim, with cmd/relay as it is built for images.
func (m *meeting) relay(program string, claim handoff.Claim) (stdout, stderr string, code int) {
	m.t.Helper()
	root, err := os.MkdirTemp(m.dir, "pod-")
	if err != nil {
		m.t.Fatal(err)
	}
	data, err := json.Marshal(claim)
	if err != nil {
		m.t.Fatal(err)
	}
	for dir, link := range map[string]string{handoff.ClaimDir: "", handoff.StateDir: "", handoff.AgentsDir: filepath.Join(filepath.Dir(bin), "agents")} {
		at := filepath.Join(root, dir)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			m.t.Fatal(err)
		}
		if link != "" {
			err = os.Symlink(link, at)
		} else {
			err = os.Mkdir(at, 0o755)
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, handoff.ClaimFile), data, 0o600); err != nil {
		m.t.Fatal(err)
	}
	plan, err := json.Marshal(handoff.Plan{Version: handoff.Version, Container: "step"})
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := m.command(m.cluster, program, "run", "--", "sh", "-c", "echo from the machine; exit 7")
	cmd.Env = append(os.Environ(), "OUTRIGGER_ROOT="+root, handoff.PlanVariable+"="+string(plan))
	cmd.Dir = root
	return m.run(cmd)
}

// What a Pod is handed opens its own machine's address, and no other.
func TestRelayThroughHub(t *testing.T) {
	m := newMeeting(t)
	program := filepath.Join(m.dir, "relay")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "outrigger.dev/outrigger/cmd/relay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	token := m.token("lab/east")
	m.open()
	m.outpost(token, "10.77.0.0/24:22").says("session begins", 1)

	key, err := os.ReadFile(filepath.Join(m.keys, "pass.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(m.ca())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := creds.ParseSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	hub := &places.Hub{URL: hubURL, CA: string(ca), Signer: signer}
	ep := m.sshd.Endpoint()
	ep.Host, ep.Port = inside, 22
	// As it was stored long ago, for a hub that has moved since.
	ep.Via = []machine.Via{via.Hub("https://gone.example.com", "lab", machine.NewSecret("old"), "")}
	claim, err := hub.Renew(handoff.Claim{
		Version: handoff.Version, Name: "ns/claim", Lease: "claim", Owner: "k8s-test", Machine: "box",
		Platform: machine.Platform{OS: "linux", Arch: runtime.GOARCH}, Endpoint: ep, Key: ep.Auth.Keys[0].Reveal(),
	})
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := m.relay(program, claim)
	if code != 7 || stdout != "from the machine\n" {
		t.Errorf("exit code %d, output %q; want 7 and a line\n%s", code, stdout, stderr)
	}
	m.hub.says("machine box", 1)

	other := claim
	other.Endpoint.Host = elsewhere
	_, stderr, code = m.relay(program, other)
	if code != 125 || !strings.Contains(stderr, `the pass of "machine box" does not allow `+elsewhere+":22") {
		t.Errorf("exit code %d; want 125 and a refusal:\n%s", code, stderr)
	}
}
