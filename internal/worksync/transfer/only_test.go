package transfer

import (
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

func TestOnlyWhatWasAskedFor(t *testing.T) {
	steps := []plan.Step{
		{Op: plan.Delete, Entry: tree.Entry{Path: "out", Kind: tree.File}},
		{Op: plan.Make, Entry: tree.Entry{Path: "out", Kind: tree.Dir}},
		{Op: plan.Write, Entry: tree.Entry{Path: "out/a", Kind: tree.File}},
		{Op: plan.Make, Entry: tree.Entry{Path: "out/b", Kind: tree.Dir}},
		{Op: plan.Write, Entry: tree.Entry{Path: "out/b/x*", Kind: tree.File}},
		{Op: plan.Meta, Entry: tree.Entry{Path: "src", Kind: tree.Dir}},
		{Op: plan.Write, Entry: tree.Entry{Path: "src/outer", Kind: tree.File}},
		{Op: plan.Delete, Entry: tree.Entry{Path: "src/z", Kind: tree.File}},
	}
	for paths, want := range map[string]string{
		"":              "delete out,make out,write out/a,make out/b,write out/b/x*,set src,write src/outer,delete src/z",
		"out/a":         "delete out,make out,write out/a",
		"out/b":         "delete out,make out,make out/b,write out/b/x*",
		"out/b/x*":      "delete out,make out,make out/b,write out/b/x*",
		"out":           "delete out,make out,write out/a,make out/b,write out/b/x*",
		"src":           "set src,write src/outer,delete src/z",
		"src/z out/a":   "delete out,make out,write out/a,delete src/z",
		"src/out nixes": "",
	} {
		var got []string
		for _, s := range only(steps, strings.Fields(paths)) {
			got = append(got, s.Op.String()+" "+s.Entry.Path)
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%q: %s, want %s", paths, strings.Join(got, ","), want)
		}
	}
}
