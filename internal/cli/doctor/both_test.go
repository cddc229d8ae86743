//go:build linux

package doctor

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/provider/orka"
)

// here makes a sheet that is written into a buffer.
func here(p look.Patient) (*sheet, *bytes.Buffer) {
	var out bytes.Buffer
	a := app.New(&term.IO{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now})
	return newSheet(a, p), &out
}

func TestResultsOfAPodStandBesideThoseFromHere(t *testing.T) {
	s, out := here(look.Patient{Name: "macs", Kind: doctor.Orka, Pool: true})
	s.beside("ci")
	result := func(check string, st doctor.State, r doctor.Reason, found string) doctor.Result {
		return doctor.Result{Subject: "pool macs", Check: check, State: st, Reason: r, Found: found, Cause: "the cause", Cure: "the cure", IPs: []string{"10.1.2.3"}}
	}
	s.add(result("name", doctor.OK, "", "10.1.2.3 is an address"))
	s.add(result("tcp", doctor.OK, "", "10.1.2.3:80: connected in 3ms"))
	s.add(doctor.Result{Subject: "machine m", Check: "create", State: doctor.OK, Found: "made"})
	v := visit{out: s}
	log := `{"event":"check","from":"pod","subject":"pool macs","check":"name","state":"ok","found":"10.1.2.3 is an address"}
a warning of the program
{"event":"check","from":"pod","subject":"pool macs","check":"tcp","state":"failed","reason":"Silent","found":"10.1.2.3:80: no answer within 5s","cause":"the cause","cure":"the cure","ips":["10.1.2.3"]}
`
	n, whole, _ := v.lines(strings.NewReader(log), 0)
	if n != 2 || whole {
		t.Errorf("%d lines, whole: %t", n, whole)
	}
	// The log breaks and is read again: nothing is written twice.
	if n, whole, _ = v.lines(strings.NewReader(log+`{"event":"end"}`+"\n"), n); n != 2 || !whole {
		t.Errorf("%d lines, whole: %t", n, whole)
	}
	s.rest()
	for _, d := range doctor.Beside(s.here, s.pod, doctor.Cluster{Namespace: "ci", Policies: []string{"deny"}}) {
		d.Cure, _, _ = strings.Cut(d.Cure, " If that")
		s.differs(d)
	}
	if err := s.end(); err == nil {
		t.Error("it ended well")
	}
	want := `HERE     POD    
pool macs (orka), from here and from a Pod in namespace ci
ok       ok       name                      10.1.2.3 is an address
ok       failed   tcp                       10.1.2.3:80: connected in 3ms
                                            in the Pod: 10.1.2.3:80: no answer within 5s
         cause: the cause
         cure:  the cure

machine m
ok       -        create                    made

reachable here, but not from a Pod: no packet comes back from 10.1.2.3
         checks: tcp of pool macs
         cause: most likely NetworkPolicy deny of namespace ci, which limits what Pods there may connect to
         cure:  Allow egress to 10.1.2.3 in a NetworkPolicy of namespace ci.

4 ok, 0 warnings, 1 failed, 0 skipped
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What the Pod runs: the order is a file, the results are lines.
func TestAnOrderIsAFile(t *testing.T) {
	p := look.Patient{Name: "macs", Kind: doctor.Orka, Config: orka.Config{Endpoint: "http://127.0.0.1:1"}}
	order, err := p.Order(nil, "there is none")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), orderFile)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := app.New(&term.IO{In: strings.NewReader(""), Out: &out, Err: &out, Environ: []string{"HOME=" + t.TempDir()}, Now: time.Now})
	cmd := New(a)
	a.Flags.Add(cmd.PersistentFlags())
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"--order", file, "--output", "json"})
	if err := cmd.ExecuteContext(t.Context()); err == nil {
		t.Error("it ended well")
	}
	s, _ := here(p)
	s.beside("ci")
	v := visit{out: s}
	if _, whole, words := v.lines(&out, 0); !whole {
		t.Errorf("no end: %s", words)
	}
	found := map[string]doctor.State{}
	for _, r := range s.pod {
		found[r.Check] = r.State
	}
	if found["tcp"] != doctor.Failed || found["login"] != doctor.Skipped {
		t.Errorf("found %v", found)
	}
}
