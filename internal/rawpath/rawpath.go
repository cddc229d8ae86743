// Package rawpath takes paths for what they are: bytes in which only the slash
// and the zero mean anything. Much of the standard library wants more of them:
// encoding/json replaces what is not UTF-8, filepath.Glob takes a "[" in the name
// of a home folder for a pattern, and io/fs refuses both to list and to open
// what fs.ValidPath does not like.
package rawpath

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// A Path is a path that is kept in JSON: as a string if it is UTF-8, else as
// {"bytes": base64}.
type Path string

type encoded struct {
	Bytes []byte `json:"bytes"`
}

// MarshalJSON encodes the path.
func (p Path) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(p)) {
		return json.Marshal(string(p))
	}
	return json.Marshal(encoded{[]byte(p)})
}

// UnmarshalJSON decodes the path.
func (p *Path) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var e encoded
		err := json.Unmarshal(b, &e)
		*p = Path(e.Bytes)
		return err
	}
	return json.Unmarshal(b, (*string)(p))
}

// Paths makes paths of strings.
func Paths(all []string) []Path {
	var paths []Path
	for _, s := range all {
		paths = append(paths, Path(s))
	}
	return paths
}

// Strings makes strings of paths.
func Strings(all []Path) []string {
	var out []string
	for _, p := range all {
		out = append(out, string(p))
	}
	return out
}

// Glob returns the paths of what is in dir, by name, under names that match
// pattern as [filepath.Match] has it. Nothing in dir's own name is a pattern. A
// folder that is not there has nothing in it.
func Glob(dir, pattern string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		ok, err := filepath.Match(pattern, e.Name())
		if err != nil {
			return nil, err
		}
		if ok {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}
