//go:build linux

package podrelay_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/handoff"
)

// BenchmarkStep measures a step on a warm machine: the relay's whole life, with
// a command that says when it was executed. OUTRIGGER_DEBUG in the relay tells
// where the time goes.
func BenchmarkStep(b *testing.B) {
	p := newPod(b)
	ws := p.at("workspace")
	var paths []string
	for _, dir := range []string{"workspace", "t/results", "t/steps", "t/scripts", "t/home", "t/artifacts"} {
		paths = append(paths, p.at(dir))
	}
	c := p.container("main", view("v0", paths...))
	c.plan.WorkDir = ws
	var volume string
	for i, path := range paths {
		v := c.mount(fmt.Sprint("v", i), path)
		if i == 0 {
			volume = v
		}
	}
	for i := range 100 {
		p.write(filepath.Join(volume, fmt.Sprint("dir", i/10), fmt.Sprint("file", i)), "some content\n")
	}
	if got := c.sh("true"); got != (result{}) {
		b.Fatalf("%+v", got)
	}
	var toExec, whole []time.Duration
	for b.Loop() {
		c.plan.Container += "x"
		begun := time.Now()
		got := c.sh("date +%s.%N")
		if got.code != 0 || got.errs != "" {
			b.Fatalf("%+v", got)
		}
		whole = append(whole, time.Since(begun))
		var sec, nano int64
		if _, err := fmt.Sscanf(got.out, "%d.%d", &sec, &nano); err != nil {
			b.Fatal(err)
		}
		toExec = append(toExec, time.Unix(sec, nano).Sub(begun))
	}
	slices.Sort(toExec)
	slices.Sort(whole)
	b.ReportMetric(toExec[len(toExec)/2].Seconds()*1e3, "ms-to-exec")
	b.ReportMetric(whole[len(whole)/2].Seconds()*1e3, "ms-whole")
	c.env = append(c.env, "OUTRIGGER_DEBUG=1")
	c.plan = handoff.Plan{Version: handoff.Version, Container: "traced", Views: c.plan.Views, WorkDir: ws}
	if got := c.sh("true"); testing.Verbose() {
		b.Log(got.errs)
	}
}
