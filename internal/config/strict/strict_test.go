package strict_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/config/strict"
)

type inner struct {
	Address string `yaml:"address"`
	Port    int8   `yaml:"port"`
}

type file struct {
	Name    string            `yaml:"name"`
	On      bool              `yaml:"on"`
	Limit   time.Duration     `yaml:"limit"`
	Ratio   float64           `yaml:"ratio"`
	List    []string          `yaml:"list"`
	Env     map[string]string `yaml:"env"`
	Hosts   []inner           `yaml:"hosts"`
	By      map[string]inner  `yaml:"by"`
	Maybe   *inner            `yaml:"maybe"`
	Hidden  string            `yaml:"-"`
	Inlined `yaml:",inline"`
}

// Inlined is exported because an embedded struct must be for its fields to be set.
type Inlined struct {
	Extra string `yaml:"extra"`
}

func TestDecodeReadsEveryKindOfValue(t *testing.T) {
	var got file
	doc := strict.Decode([]byte(`
name: mac # a comment
on: true
limit: 1h30m
ratio: 2
list: [a, "b c"]
env:
  CI: "true"
  1.10: x
hosts:
  - address: 10.0.0.1
    port: 22
  - {address: "::1"}
by: {x: {port: 1}}
maybe:
extra: |
  two
  lines
`), &got)
	want := file{
		Name: "mac", On: true, Limit: 90 * time.Minute, Ratio: 2,
		List: []string{"a", "b c"}, Env: map[string]string{"CI": "true", "1.10": "x"},
		Hosts: []inner{{"10.0.0.1", 22}, {Address: "::1"}}, By: map[string]inner{"x": {Port: 1}},
		Maybe: &inner{}, Inlined: Inlined{Extra: "two\nlines\n"},
	}
	if len(doc.Problems) > 0 {
		t.Errorf("problems: %v", doc.Problems)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeNamesMistakes(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"an empty file is fine", "", ""},
		{"only a comment is fine", "# nothing\n", ""},
		{"a mistyped key", "anme: x\n", `1:1: unknown key "anme", did you mean "name"?`},
		{"a key in another case", "hosts:\n  - Port: 1\n", `2:5: unknown key "Port", did you mean "port"?`},
		{"a key like nothing known", "by:\n  x:\n    quux: 1\n", `3:5: unknown key "quux", known here: address, port`},
		{"a hidden field is no key", "hidden: x\n", `1:1: unknown key "hidden", known here: by, env, extra, hosts, limit, list, maybe, name, on, ratio`},
		{"a doubled key", "name: a\non: true\nname: b\n", `3:1: key "name" stands here a second time, first in line 1`},
		{"text for a number", "hosts: [{port: ssh}]\n", `1:16: found the text "ssh", want a whole number`},
		{"a number that does not fit", "hosts: [{port: 300}]\n", `1:16: 300 is too large`},
		{"a number for text", "name: 1.10\n", `1:7: found the number 1.10, want text: put it in quotes: "1.10"`},
		{"a boolean for text", "env: {CI: true}\n", `1:11: found true, want text: put it in quotes: "true"`},
		{"text for a boolean", "on: yes\n", `1:5: found the text "yes", want true or false`},
		{"text for a list", "list: a\n", `1:7: found the text "a", want a list: [a, b]`},
		{"keys for a list", "list:\n  a: b\n", `2:3: found keys and values, want a list: [a, b]`},
		{"a list for keys", "env: [a]\n", `1:6: found a list, want keys and values`},
		{"a duration without a unit", "limit: 90\n", `1:8: found the number 90, want a duration such as 90s or 8h`},
		{"a duration in days", "limit: 2d\n", `1:8: "2d" is no duration: want something such as 90s or 8h`},
		{"a negative duration", "limit: -1s\n", `1:8: "-1s" is no duration: want something such as 90s or 8h`},
		{"an element that is missing", "list:\n  - a\n  -\n", `3:5: an empty element in a list`},
		{"an alias", "name: &x a\nextra: *x\n", "1:7: anchors, aliases and tags are not supported: write the value itself\n2:8: anchors, aliases and tags are not supported: write the value itself"},
		{"a second document", "name: a\n---\nname: b\n", `3:1: a second document starts here, want one`},
		{"not a mapping at all", "hello\n", `1:1: found the text "hello", want keys and values`},
		{"a secret in the wrong place is cut", "on: -----BEGIN OPENSSH PRIVATE KEY-----\n", `1:5: found the text "-----BEGIN OPENSSH P…", want true or false`},
		{"several at once, in their order", "anme: x\nlimit: 5\nlist: 3\n", `1:1: unknown key "anme", did you mean "name"?
2:8: found the number 5, want a duration such as 90s or 8h
3:7: found the number 3, want a list: [a, b]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc := strict.Decode([]byte(tt.in), new(file))
			if diff := cmp.Diff(tt.want, text(doc)); diff != "" {
				t.Errorf("problems (-want +got):\n%s\nof:\n%s", diff, tt.in)
			}
		})
	}
}

func TestDecodeSaysWhereSyntaxIsBroken(t *testing.T) {
	for _, in := range []string{"name: [a\n", "name: a\n  bad: b\n c: d\n", "\tname: a\n", "a: 'b\n"} {
		doc := strict.Decode([]byte(in), new(file))
		if len(doc.Problems) != 1 || doc.Problems[0].Line == 0 || !strings.HasPrefix(doc.Problems[0].Text, "not YAML: ") {
			t.Errorf("%q: got %q, want one syntax error with its line", in, text(doc))
		}
	}
}

func TestReportFindsTheNearestPlace(t *testing.T) {
	doc := strict.Decode([]byte("hosts:\n  - address: a\n"), new(file))
	for path, want := range map[strict.Path]string{
		strict.Path("hosts").Index(0).Key("address"): "2:5",
		strict.Path("hosts").Index(0).Key("port"):    "2:5",
		"hosts":  "1:1",
		"absent": "0:0",
	} {
		if got := doc.At(path); fmt.Sprintf("%d:%d", got.Line, got.Column) != want {
			t.Errorf("At(%s) = %v, want %s", path, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"exclude", "env", "timeout", "image"}
	for word, want := range map[string]string{
		"exlude": "exclude", "EXCLUDE": "exclude", "timeuot": "timeout", "enb": "env", "zzz": "", "": "", "x": "",
	} {
		if got, ok := strict.Nearest(word, known); ok != (want != "") || ok && got != want {
			t.Errorf("Nearest(%q) = %q, %v; want %q", word, got, ok, want)
		}
	}
}

// FuzzDecode: whatever the file holds, Decode returns, and each problem is one line.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"name: x\n", "hosts:\n  - {port: 1}\n", "a: &b [*b]\n", "? [a]\n: b\n", "<<: {a: b}\n", "list: [[[[", "--- |\n x\n", "{a: b, a: c}", "limit: 1h", "!!binary x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v file
		for _, p := range strict.Decode(data, &v).Problems {
			if p.Text == "" || p.Line < 0 || p.Column < 0 {
				t.Errorf("problem %+v", p)
			}
		}
	})
}

func text(d *strict.Document) string {
	var lines []string
	for _, p := range d.Problems {
		lines = append(lines, fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Text))
	}
	return strings.Join(lines, "\n")
}
