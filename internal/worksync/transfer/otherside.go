package transfer

import (
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// maxListText bounds the memory that the other side's paths and link targets
// can take, beside tree.MaxEntries for the entries themselves.
const maxListText = 256 << 20

// listing takes in the other side's list, and believes only what makes sense:
// strictly rising paths, of bounded number and length.
type listing struct {
	records []pack.Record
	agreed  map[string]bool   // entries that are as they once were agreed on
	closed  map[string]string // entries that cannot be read, and why
	holds   map[string]bool   // folders that hold what is not synced
	when    map[string]int64  // when an entry was changed, where that was said
	text    int
}

func newListing() listing {
	return listing{agreed: map[string]bool{}, closed: map[string]string{}, holds: map[string]bool{}, when: map[string]int64{}}
}

func (l *listing) take(r pack.Record) error {
	if r.Kind != pack.Have && r.Kind != pack.Forget && r.Kind != pack.Closed && r.Kind != pack.Holds {
		return fault.New(fault.Protocol, "sync: record of kind %d in a list", r.Kind)
	}
	l.text += len(r.Path) + len(r.Entry.Target)
	if len(l.records) >= tree.MaxEntries || l.text > maxListText {
		return fault.New(fault.Protocol, "sync: list of more than %d entries or %d bytes of names", tree.MaxEntries, maxListText)
	}
	if r.Kind == pack.Holds {
		if l.holds[r.Path] = true; len(l.holds) > tree.MaxEntries {
			return fault.New(fault.Protocol, "sync: list of more than %d folders", tree.MaxEntries)
		}
		return nil
	}
	if n := len(l.records); n > 0 && tree.Compare(l.records[n-1].Path, r.Path) >= 0 {
		return fault.New(fault.Protocol, "sync: list out of order at %q", r.Path)
	}
	l.records = append(l.records, r)
	if r.When != 0 {
		l.when[r.Path] = r.When
	}
	switch {
	case r.Kind == pack.Closed:
		l.closed[r.Path] = sanitize.Line(r.Why, maxWhy)
	case r.Settles && r.Kind == pack.Have:
		l.agreed[r.Path] = true
	}
	return nil
}

// over lays the list over the base: what the other side has now. The places
// tell where in the list (counting entries only) each of its entries stands.
func (l *listing) over(base []tree.Node) (entries []tree.Entry, places map[string]uint32, err error) {
	places = map[string]uint32{}
	entries = make([]tree.Entry, 0, len(base)+len(l.records))
	for _, r := range l.records {
		for len(base) > 0 && tree.Compare(base[0].Path, r.Path) < 0 {
			entries = append(entries, base[0].Entry)
			base = base[1:]
		}
		if len(base) > 0 && base[0].Path == r.Path {
			base = base[1:]
		}
		if r.Kind == pack.Have || r.Kind == pack.Closed {
			places[r.Path] = uint32(len(places))
			entries = append(entries, r.Entry)
		}
	}
	for _, n := range base {
		entries = append(entries, n.Entry)
	}
	return entries, places, whole(entries)
}

// whole checks that every entry is in a folder of the list.
func whole(entries []tree.Entry) error {
	var above []string
	for _, e := range entries {
		dir := tree.Parent(e.Path)
		for len(above) > 0 && above[len(above)-1] != dir {
			above = above[:len(above)-1]
		}
		if dir != "" && len(above) == 0 {
			return fault.New(fault.Protocol, "sync: list has %q but not its folder", e.Path)
		}
		if e.Kind == tree.Dir {
			above = append(above, e.Path)
		}
	}
	return nil
}
