package webhook

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGraft(t *testing.T) {
	for name, tt := range map[string]struct{ there, from, to, want string }{
		"nothing": {`{"a":1,"new":2}`, `{"a":1}`, `{"a":1}`, `{"a":1,"new":2}`},
		"an unknown field beside a change": {
			`{"spec":{"gates":[],"new":{"x":1}}}`, `{"spec":{}}`, `{"spec":{"gates":[{"name":"g"}]}}`, `{"spec":{"gates":[{"name":"g"}],"new":{"x":1}}}`},
		"an unknown field in an element that changes": {
			`[{"name":"c","image":"a","new":1}]`, `[{"name":"c","image":"a"}]`, `[{"name":"c","image":"b"}]`, `[{"name":"c","image":"b","new":1}]`},
		"appended": {
			`[{"name":"c","new":1}]`, `[{"name":"c"}]`, `[{"name":"c"},{"name":"d"}]`, `[{"name":"c","new":1},{"name":"d"}]`},
		"taken out of the middle": {
			`[{"name":"a","new":1},{"name":"b","new":2},{"name":"c","new":3}]`, `[{"name":"a"},{"name":"b"},{"name":"c"}]`, `[{"name":"a"},{"name":"c"}]`,
			`[{"name":"a","new":1},{"name":"c","new":3}]`},
		"without names": {
			`[{"key":"a","new":1},{"key":"b","new":2}]`, `[{"key":"a"},{"key":"b"}]`, `[{"key":"b"}]`, `[{"key":"b","new":2}]`},
		"a name twice": {
			`[{"name":"A","value":"1"},{"name":"A","value":"2"}]`, `[{"name":"A","value":"1"},{"name":"A","value":"2"}]`, `[{"name":"A","value":"1"},{"name":"A","value":"2"},{"name":"P"}]`,
			`[{"name":"A","value":"1"},{"name":"A","value":"2"},{"name":"P"}]`},
		"words":        {`["a","b"]`, `["a","b"]`, `["relay","a","b"]`, `["relay","a","b"]`},
		"a key goes":   {`{"a":1,"b":2,"new":3}`, `{"a":1,"b":2}`, `{"a":1}`, `{"a":1,"new":3}`},
		"a key comes":  {`{"new":3}`, `{}`, `{"a":1}`, `{"a":1,"new":3}`},
		"written out":  {`{}`, `{"resources":{}}`, `{"resources":{}}`, `{}`},
		"another kind": {`{"a":[1]}`, `{"a":[1]}`, `{"a":"x"}`, `{"a":"x"}`},
	} {
		var got, want any
		value := func(text string) (v any) {
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%s: %s: %v", name, text, err)
			}
			return v
		}
		got, want = graft(value(tt.there), value(tt.from), value(tt.to)), value(tt.want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
