package main

import (
	"math"
	"testing"
)

// TestTreesHaveTheirShape: numbers are only comparable if the data is what its description says.
func TestTreesHaveTheirShape(t *testing.T) {
	for _, tt := range []struct {
		set   string
		scale float64
	}{{"A", 0.02}, {"B", 0.01}} {
		t.Run(tt.set, func(t *testing.T) {
			s := shapes[tt.set]
			first, second := t.TempDir(), t.TempDir()
			for _, dir := range []string{first, second} {
				if err := newWriter(1).tree(dir, s, tt.scale); err != nil {
					t.Fatal(err)
				}
			}
			a, err := measure(first)
			if err != nil {
				t.Fatal(err)
			}
			b, err := measure(second)
			if err != nil {
				t.Fatal(err)
			}
			if a != b {
				t.Errorf("two trees of one seed differ: %s and %s", a, b)
			}
			if want := int(float64(s.files) * tt.scale); a.files+a.links != want {
				t.Errorf("%d files and links, want %d", a.files+a.links, want)
			}
			if want := s.total * tt.scale; math.Abs(float64(a.bytes)-want) > 0.1*want {
				t.Errorf("%d bytes, want within a tenth of %.0f", a.bytes, want)
			}
		})
	}
}

// TestChangeIsSmall: "1 % changed" must be about one in a hundred.
func TestChangeIsSmall(t *testing.T) {
	dir := t.TempDir()
	if err := newWriter(1).tree(dir, shapes["A"], 0.02); err != nil {
		t.Fatal(err)
	}
	before, err := measure(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := newWriter(2).change(dir, 0); err != nil {
		t.Fatal(err)
	}
	after, err := measure(dir)
	if err != nil {
		t.Fatal(err)
	}
	if before.files != after.files {
		t.Errorf("%d files became %d: as many are made as removed", before.files, after.files)
	}
	if math.Abs(float64(after.bytes-before.bytes)) > 0.05*float64(before.bytes) {
		t.Errorf("%d bytes became %d, want about as many", before.bytes, after.bytes)
	}
}
