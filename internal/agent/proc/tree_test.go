package proc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFamily(t *testing.T) {
	id := Identity{PID: 100, Start: 50}
	for _, tt := range []struct {
		name   string
		table  []entry
		marked []int
		want   []int
	}{
		{"main process and its children, also in other sessions",
			[]entry{{pid: 100, parent: 10, group: 100, session: 100, start: 50}, {pid: 101, parent: 100, group: 100, session: 100, start: 51},
				{pid: 102, parent: 101, group: 102, session: 102, start: 52}, {pid: 200, parent: 1, group: 200, session: 200, start: 53}},
			nil, []int{100, 101, 102}},
		{"an orphan that left the session is known by its mark, its children by their parent",
			[]entry{{pid: 300, parent: 10, group: 300, session: 300, start: 60}, {pid: 301, parent: 300, group: 301, session: 301, start: 61}},
			[]int{300}, []int{300, 301}},
		{"a main process that leads nothing",
			[]entry{{pid: 100, parent: 1, group: 90, session: 80, start: 50}, {pid: 101, parent: 1, group: 90, session: 80, start: 51}}, nil, []int{100}},
		{"a session whose leader died is still ours",
			[]entry{{pid: 101, parent: 1, group: 100, session: 100, start: 51}}, nil, []int{101}},
		{"a number that was used again is not",
			[]entry{{pid: 100, parent: 1, group: 100, session: 100, start: 90}, {pid: 101, parent: 100, group: 100, session: 100, start: 91}}, nil, nil},
		{"who looks, and who started it, is never of the tree",
			[]entry{{pid: 10, parent: 9, group: 9, session: 9, start: 1}, {pid: 9, parent: 1, group: 9, session: 9, start: 1}}, []int{9, 10}, nil},
		{"zombies are dead already",
			[]entry{{pid: 100, parent: 10, group: 100, session: 100, start: 50, zombie: true}}, nil, nil},
		{"a zombie's session lives on",
			[]entry{{pid: 100, parent: 10, group: 100, session: 100, start: 50, zombie: true}, {pid: 101, parent: 10, group: 100, session: 100, start: 51}}, nil, []int{101}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			marked := func(pid int) bool {
				for _, m := range tt.marked {
					if m == pid {
						return true
					}
				}
				return false
			}
			var got []int
			for _, e := range family(tt.table, id, 10, marked) {
				got = append(got, e.pid)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
