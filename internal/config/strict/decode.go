package strict

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

var durationType = reflect.TypeFor[time.Duration]()

// value decodes n into v and notes where it stands.
func (d *Document) value(path Path, n ast.Node, v reflect.Value) {
	if _, seen := d.where[path]; !seen && path != "" {
		d.where[path] = position(n)
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.report(position(n), "anchors, aliases and tags are not supported: write the value itself")
		return
	}
	if v.Kind() == reflect.Pointer {
		// "local:" with nothing behind it says that local is wanted.
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if n.Type() == ast.NullType {
		return // as if the key was not there: the default stays
	}
	switch {
	case v.Type() == durationType:
		d.duration(n, v)
	case v.Kind() == reflect.Struct:
		d.structure(path, n, v)
	case v.Kind() == reflect.Map:
		d.mapping(path, n, v)
	case v.Kind() == reflect.Slice:
		d.sequence(path, n, v)
	default:
		d.scalar(n, v)
	}
}

func (d *Document) structure(path Path, n ast.Node, v reflect.Value) {
	known := fields(v)
	d.each(path, n, func(key string, at Position, value ast.Node) {
		f, ok := known[key]
		if !ok {
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			d.report(at, "unknown key %q%s", key, didYouMean(key, names))
			return
		}
		d.value(path.Key(key), value, f)
	})
}

func (d *Document) mapping(path Path, n ast.Node, v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	d.each(path, n, func(key string, _ Position, value ast.Node) {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(path.Key(key), value, e)
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), e)
	})
}

// each visits the pairs of a mapping; where a key stands is where its value's
// path is said to be.
func (d *Document) each(path Path, n ast.Node, visit func(key string, at Position, value ast.Node)) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.report(position(n), "found %s, want keys and values", describe(n))
		return
	}
	first := map[string]Position{}
	for _, p := range pairs {
		at := position(p.Key)
		key, ok := keyOf(p.Key)
		if !ok {
			d.report(at, "this key cannot be used: want a plain word")
			continue
		}
		if before, twice := first[key]; twice {
			d.report(at, "key %q stands here a second time, first in line %d", key, before.Line)
			continue
		}
		first[key] = at
		d.where[path.Key(key)] = at
		visit(key, at, p.Value)
	}
}

func pairsOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func keyOf(n ast.MapKeyNode) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true // a name like 1.10 is what was written
	}
	return "", false
}

func (d *Document) sequence(path Path, n ast.Node, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.report(position(n), "found %s, want a list: [a, b]", describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, e := range seq.Values {
		if e.Type() == ast.NullType {
			d.report(position(e), "an empty element in a list")
			continue
		}
		d.value(path.Index(i), e, out.Index(i))
	}
	v.Set(out)
}

func (d *Document) duration(n ast.Node, v reflect.Value) {
	text, ok := textOf(n)
	if !ok {
		d.report(position(n), "found %s, want a duration such as 90s or 8h", describe(n))
		return
	}
	dur, err := time.ParseDuration(text)
	if err != nil || dur < 0 {
		d.report(position(n), "%q is no duration: want something such as 90s or 8h", text)
		return
	}
	v.SetInt(int64(dur))
}

func (d *Document) scalar(n ast.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		text, ok := textOf(n)
		if !ok {
			hint := ""
			if _, scalar := n.(ast.ScalarNode); scalar {
				hint = fmt.Sprintf(": put it in quotes: %q", n.GetToken().Value)
			}
			d.report(position(n), "found %s, want text%s", describe(n), hint)
			return
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.report(position(n), "found %s, want true or false", describe(n))
			return
		}
		v.SetBool(b.Value)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, ok := integer(n)
		if !ok {
			d.report(position(n), "found %s, want a whole number", describe(n))
			return
		}
		if v.OverflowInt(i) {
			d.report(position(n), "%d is too large", i)
			return
		}
		v.SetInt(i)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(n.GetToken().Value, 64)
		if _, isScalar := n.(ast.ScalarNode); !isScalar || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.report(position(n), "found %s, want a number", describe(n))
			return
		}
		v.SetFloat(f)
	default:
		// A struct of ours asks for what this package does not know.
		d.report(position(n), "this key cannot be set in a file (%s)", v.Type())
	}
}

func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func integer(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch x := i.Value.(type) {
	case int64:
		return x, true
	case uint64:
		return int64(x), x <= math.MaxInt64
	}
	return 0, false
}

// describe says what a person sees at n.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.StringNode:
		return "the text " + strconv.Quote(short(n.Value))
	case *ast.LiteralNode:
		return "a block of text"
	}
	return strings.ToLower(n.Type().String())
}

// short keeps a whole private key, pasted into the wrong place, out of a message.
func short(s string) string {
	const most = 20
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// fields are the struct's fields by their key, those of inlined structs included.
func fields(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case opts == "inline":
			for k, e := range fields(v.Field(i)) {
				out[k] = e
			}
		case name == "-" || !f.IsExported():
		case name == "":
			out[strings.ToLower(f.Name)] = v.Field(i)
		default:
			out[name] = v.Field(i)
		}
	}
	return out
}
