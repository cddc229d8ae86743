package pool

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

var phaseWords = map[string]Phase{
	"creating": Creating, "booting": Booting, "idle": Idle, "leased": Leased, "releasing": Releasing, "deleting": Deleting,
}

// parse reads a snapshot, one thing a line:
//
//	pool warm=1 max=3
//	m1 idle 5m age=1h image=x for=c1 ns=a uses=2 returns suspect
//	c1 waits 2m ns=a image=x prio=1
func parse(t *testing.T, text string) Snapshot {
	t.Helper()
	s := Snapshot{Now: noon, Pool: Pool{Max: 100, MaxCreating: 100}}
	ago := func(word string) time.Time {
		d, err := time.ParseDuration(word)
		if err != nil {
			t.Fatal(err)
		}
		return noon.Add(-d)
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		m := Machine{Name: f[0], Created: noon.Add(-time.Hour), Since: noon.Add(-time.Minute)}
		c := Claim{UID: f[0], Name: f[0], Namespace: "a", Created: noon.Add(-time.Minute)}
		p := &s.Pool
		rest := f[1:]
		kind := f[0]
		if kind != "pool" {
			kind = f[1]
			rest = f[2:]
			if len(rest) > 0 && !strings.Contains(rest[0], "=") && rest[0] != "returns" && rest[0] != "fresh" && rest[0] != "suspect" {
				m.Since, c.Created = ago(rest[0]), ago(rest[0])
				rest = rest[1:]
			}
		}
		for _, word := range rest {
			k, v, _ := strings.Cut(word, "=")
			n, _ := strconv.Atoi(v)
			switch k {
			case "warm":
				p.Warm = n
			case "max":
				p.Max = n
			case "creating":
				p.MaxCreating = n
			case "failures":
				p.Failures = n
			case "maxuses":
				p.MaxUses = n
			case "maxage":
				p.MaxAge = noon.Sub(ago(v))
			case "backoff":
				p.BackoffUntil, p.Trouble = noon.Add(noon.Sub(ago(v))), "503"
			case "start":
				p.StartTime = noon.Sub(ago(v))
			case "lease":
				p.LeaseTime = noon.Sub(ago(v))
			case "closing":
				p.Closing = true
			case "reuse":
				p.Reuse = true
			case "image":
				p.Image, m.Image, c.Image = v, v, v
				if kind != "pool" {
					p.Image = s.Pool.Image
				}
			case "noimage":
				p.NoImage = "not built"
			case "fresh":
				c.Fresh = true
			case "for":
				m.For = v
			case "ns":
				m.Namespace, c.Namespace = v, v
			case "age":
				m.Created = ago(v)
			case "uses":
				m.Uses = n
			case "returns":
				m.Returns = true
			case "suspect":
				m.Suspect = true
			case "prio":
				c.Priority = n
			default:
				t.Fatalf("word %q", word)
			}
		}
		if kind == "waits" {
			s.Claims = append(s.Claims, c)
		} else if phase, ok := phaseWords[kind]; ok {
			m.Phase = phase
			s.Machines = append(s.Machines, m)
		} else if kind != "pool" {
			t.Fatalf("phase %q", kind)
		}
	}
	// A machine line sets the pool's image only on a pool line.
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "pool" {
			s.Pool.Image = ""
			for _, word := range f[1:] {
				if v, ok := strings.CutPrefix(word, "image="); ok {
					s.Pool.Image = v
				}
			}
		}
	}
	return s
}

// words says a decision, one step a line.
func words(s Snapshot, d Decision) string {
	var out []string
	for _, b := range d.Bind {
		out = append(out, fmt.Sprintf("bind %s to %s", b.Machine, s.Claims[b.Claim].Name))
	}
	for _, x := range d.Delete {
		out = append(out, fmt.Sprintf("delete %s %s", x.Machine, x.Why))
	}
	for _, c := range d.Create {
		line := "create"
		if c.Image != "" {
			line += " " + c.Image
		}
		if c.For != "" {
			line += " for " + c.For
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// waits says the queue, one claim a line.
func waits(s Snapshot, d Decision) string {
	var out []string
	for _, w := range d.Queue {
		line := fmt.Sprintf("%d %s %s", w.Position, s.Claims[w.Claim].Name, w.Reason)
		if w.Wait > 0 {
			line += " " + w.Wait.String()
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func lines(text string) string {
	var out []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return strings.Join(slices.Clip(out), "\n")
}
