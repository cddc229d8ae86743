// Package strict reads YAML into Go structs and accepts nothing that it does
// not know: an unknown or doubled key, a value of another type, a number that
// does not fit. It finds every mistake of a file in one pass and says where
// each is and what was probably meant.
//
// It knows the small part of YAML that a configuration needs: mappings,
// sequences and plain values. Anchors, aliases, tags and merge keys are
// refused: what a key means should be seen where it stands.
package strict

import (
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile is far above what a person writes, and low enough that no input
// nests deeper than the parser's stack.
const maxFile = 256 << 10

// A Position is a place in the file, both counted from 1. The zero Position is
// the file as a whole.
type Position struct{ Line, Column int }

// A Problem is one mistake.
type Problem struct {
	Position
	Text string
}

// A Path names a value in the document: "providers.macs.ssh.hosts[0].port".
type Path string

// Key is the path of key below p.
func (p Path) Key(key string) Path {
	if p == "" {
		return Path(key)
	}
	return p + "." + Path(key)
}

// Index is the path of element i of p.
func (p Path) Index(i int) Path { return Path(fmt.Sprintf("%s[%d]", p, i)) }

// A Document is a decoded file: where everything stands, and what is wrong with it.
type Document struct {
	Problems []Problem
	where    map[Path]Position
}

// Decode reads data into the struct that into points to. Fields are named by
// their yaml tags, as the yaml package has it, ",inline" included. What is
// wrong is in the Document; the rest is decoded all the same.
func Decode(data []byte, into any) *Document {
	d := &Document{where: map[Path]Position{}}
	body, ok := d.parse(data)
	if ok && body != nil {
		d.value("", body, reflect.ValueOf(into).Elem())
	}
	sort.SliceStable(d.Problems, func(i, j int) bool {
		a, b := d.Problems[i], d.Problems[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
	return d
}

// At returns where path stands, or where the nearest thing around it does.
func (d *Document) At(path Path) Position {
	for {
		if pos, ok := d.where[path]; ok {
			return pos
		}
		cut := strings.LastIndexAny(string(path), ".[")
		if cut < 0 {
			return Position{}
		}
		path = path[:cut]
	}
}

// Report adds a mistake that the caller found at path.
func (d *Document) Report(path Path, format string, args ...any) {
	d.report(d.At(path), format, args...)
}

func (d *Document) report(at Position, format string, args ...any) {
	d.Problems = append(d.Problems, Problem{at, fmt.Sprintf(format, args...)})
}

// parse returns the only document's body, nil when there is nothing in it.
func (d *Document) parse(data []byte) (body ast.Node, ok bool) {
	if len(data) > maxFile {
		d.report(Position{}, "the file has %d bytes, want at most %d", len(data), maxFile)
		return nil, false
	}
	// The parser is somebody else's, and a file may be anything.
	defer func() {
		if p := recover(); p != nil {
			d.report(Position{}, "not YAML: %v", p)
			body, ok = nil, false
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // doubles are found below, all of them
	if err != nil {
		at, text := Position{}, err.Error()
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			text = syntax.GetMessage()
			if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
				at = Position{tk.Position.Line, tk.Position.Column}
			}
		}
		d.report(at, "not YAML: %s", text)
		return nil, false
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.NullType {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) > 1 {
		d.report(position(bodies[1]), "a second document starts here, want one")
	}
	if len(bodies) == 0 {
		return nil, true
	}
	return bodies[0], true
}

func position(n ast.Node) Position {
	if n == nil {
		return Position{}
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		n = m.Key // its own token is the colon
	}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	tk := n.GetToken()
	if tk == nil || tk.Position == nil {
		return Position{}
	}
	return Position{tk.Position.Line, tk.Position.Column}
}
