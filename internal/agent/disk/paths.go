package disk

import (
	"encoding/json"

	"outrigger.dev/outrigger/internal/rawpath"
)

// linkJSON and the others are how a Link, a Rewrite and a Left are kept. A path that is
// not UTF-8 must come out as it went in, or what was made under it stays for ever.
type linkJSON struct {
	Path   rawpath.Path   `json:"path"`
	Place  rawpath.Path   `json:"place"`
	Target rawpath.Path   `json:"target"`
	Made   []rawpath.Path `json:"made,omitempty"`
}

type rewriteJSON struct {
	From rawpath.Path `json:"from"`
	To   rawpath.Path `json:"to"`
}

type leftJSON struct {
	Path rawpath.Path `json:"path"`
	Why  string       `json:"why"`
}

// MarshalJSON encodes what was left.
func (l Left) MarshalJSON() ([]byte, error) {
	return json.Marshal(leftJSON{rawpath.Path(l.Path), l.Why})
}

// UnmarshalJSON decodes what was left.
func (l *Left) UnmarshalJSON(b []byte) error {
	var j leftJSON
	err := json.Unmarshal(b, &j)
	*l = Left{string(j.Path), j.Why}
	return err
}

// MarshalJSON encodes the link.
func (l Link) MarshalJSON() ([]byte, error) {
	j := linkJSON{Path: rawpath.Path(l.Path), Place: rawpath.Path(l.Place), Target: rawpath.Path(l.Target)}
	for _, dir := range l.Made {
		j.Made = append(j.Made, rawpath.Path(dir))
	}
	return json.Marshal(j)
}

// UnmarshalJSON decodes the link.
func (l *Link) UnmarshalJSON(b []byte) error {
	var j linkJSON
	err := json.Unmarshal(b, &j)
	*l = Link{Path: string(j.Path), Place: string(j.Place), Target: string(j.Target)}
	for _, dir := range j.Made {
		l.Made = append(l.Made, string(dir))
	}
	return err
}

// MarshalJSON encodes the rewrite.
func (r Rewrite) MarshalJSON() ([]byte, error) {
	return json.Marshal(rewriteJSON{rawpath.Path(r.From), rawpath.Path(r.To)})
}

// UnmarshalJSON decodes the rewrite.
func (r *Rewrite) UnmarshalJSON(b []byte) error {
	var j rewriteJSON
	err := json.Unmarshal(b, &j)
	*r = Rewrite{string(j.From), string(j.To)}
	return err
}
