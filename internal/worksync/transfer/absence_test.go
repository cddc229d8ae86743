package transfer_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/baseline"
)

// project is a folder of 31 files in 3 folders.
func project() map[string]string {
	files := map[string]string{"README": "read me"}
	for i := range 15 {
		files[fmt.Sprintf("src/%d.c", i)] = fmt.Sprint("c", i)
		files[fmt.Sprintf("src/deep/%d.h", i)] = fmt.Sprint("h", i)
	}
	return files
}

// copyOf copies a folder with the times of its files, for a look back.
func copyOf(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	must(t, exec.Command("cp", "-a", from, to).Run())
	return to
}

// TestWhatNobodySawGoIsNotDeleted loses files on the machine in ways that no run
// of ours is to blame for: all that was here stays here.
func TestWhatNobodySawGoIsNotDeleted(t *testing.T) {
	for _, tt := range []struct {
		name string
		// lose happens after a first run; between is whether a second run's files
		// were brought up before, and its command has not begun.
		lose    func(p *pair)
		between bool
	}{
		{"the folder was emptied between two runs", func(p *pair) { remove(p.t, p.far, "README"); remove(p.t, p.far, "src") }, false},
		{"most of it went between two runs", func(p *pair) { remove(p.t, p.far, "src") }, false},
		{"most of it went, deep inside", func(p *pair) {
			remove(p.t, p.far, "src/deep")
			for i := range 10 {
				remove(p.t, p.far, fmt.Sprintf("src/%d.c", i))
			}
		}, false},
		{"another folder has taken its place", func(p *pair) { remove(p.t, p.far, "."); write(p.t, p.far, map[string]string{"./": ""}) }, false},
		{"its folder and its memory are gone", func(p *pair) {
			must(p.t, os.RemoveAll(p.far))
			must(p.t, os.RemoveAll(p.farState))
			write(p.t, p.far, map[string]string{"./": ""})
		}, false},
		{"its memory alone is gone", func(p *pair) { must(p.t, os.RemoveAll(p.farState)) }, false},
		{"it was emptied just before the command", func(p *pair) { remove(p.t, p.far, "README"); remove(p.t, p.far, "src") }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t)
			write(t, p.near, project())
			p.mustUp()
			p.run(func() { write(t, p.far, map[string]string{"out/first": "1"}) })
			p.mustBack()
			want := project()
			want["out/first"] = "1"
			if tt.between {
				p.mustUp()
				tt.lose(p)
			} else {
				tt.lose(p)
				p.mustUp()
				if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
					t.Errorf("the command would see:\n%s", diff)
				}
			}
			p.run(func() { write(t, p.far, map[string]string{"out/second": "2"}) })
			_, err := p.back()
			if tt.between != fault.Is(err, fault.PathsLeft) {
				t.Errorf("back: %v", err)
			}
			want["out/second"] = "2"
			if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
				t.Errorf("here:\n%s", diff)
			}
		})
	}
}

func TestWhatACommandDeletesIsDeletedHere(t *testing.T) {
	p := newPair(t)
	write(t, p.near, project())
	p.mustUp()
	p.run(func() { remove(t, p.far, "README"); remove(t, p.far, "src") })
	p.mustBack()
	if diff := cmp.Diff(map[string]string{}, contents(t, p.near)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatGoesAfterTheCommandIsNotDeletedHere(t *testing.T) {
	p := newPair(t)
	write(t, p.near, project())
	p.mustUp()
	p.run(func() { write(t, p.far, map[string]string{"result": "1"}) })
	remove(t, p.far, "README")
	remove(t, p.far, "src")
	remove(t, p.far, "result")
	if _, err := p.back(); !fault.Is(err, fault.PathsLeft) {
		t.Errorf("got %v, want the loss to be told", err)
	}
	if diff := cmp.Diff(project(), contents(t, p.near)); diff != "" {
		t.Errorf("here:\n%s", diff)
	}
}

func TestAFolderThatWasLostHereStopsTheRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(p *pair)
	}{
		{"emptied, as when a disk is not mounted", func(p *pair) { remove(p.t, p.near, "README"); remove(p.t, p.near, "src") }},
		{"a few are left", func(p *pair) {
			remove(p.t, p.near, "src/deep")
			for i := range 12 {
				remove(p.t, p.near, fmt.Sprintf("src/%d.c", i))
			}
		}},
		{"and the machine was lost too", func(p *pair) {
			remove(p.t, p.near, "README")
			remove(p.t, p.near, "src")
			remove(p.t, p.far, "src")
			must(p.t, os.RemoveAll(p.farState))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t)
			write(t, p.near, project())
			p.mustUp()
			tt.lose(p)
			there := contents(t, p.far)
			if _, err := p.up(); !fault.Is(err, fault.TooManyDeletions) {
				t.Fatalf("got %v, want a fault of kind TooManyDeletions", err)
			}
			if diff := cmp.Diff(there, contents(t, p.far)); diff != "" {
				t.Errorf("there:\n%s", diff)
			}
			p.believe = true
			p.mustUp()
		})
	}
}

// TestADeliberateChangeHereStopsNothing holds that ordinary work is not taken
// for a loss: a folder that moved, patterns that exclude most of it.
func TestADeliberateChangeHereStopsNothing(t *testing.T) {
	p := newPair(t)
	write(t, p.near, project())
	p.mustUp()
	must(t, os.Rename(filepath.Join(p.near, "src"), filepath.Join(p.near, "lib")))
	p.mustUp()
	p.wantEqual()
	p.exclude = []string{"/lib/"}
	p.mustUp()
	p.run(func() { write(t, p.far, map[string]string{"result": "1"}) })
	p.mustBack()
	want := map[string]string{"result": "1"}
	for path, content := range project() {
		if filepath.Dir(path) != "." {
			path = filepath.Join("lib", path[len("src/"):])
		}
		want[path] = content
	}
	if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
		t.Errorf("here:\n%s", diff)
	}
}

// TestAMachineThatWasRolledBack restores the machine to what it was one, two and
// three syncs ago: nothing old comes back, nothing new is lost or in conflict.
func TestAMachineThatWasRolledBack(t *testing.T) {
	for ago := 1; ago <= 3; ago++ {
		t.Run(fmt.Sprint(ago), func(t *testing.T) {
			p := newPair(t)
			write(t, p.near, project())
			write(t, p.near, map[string]string{"edited": "0", "gone": "x"})
			var files, states []string
			want := project()
			for i := range 3 {
				write(t, p.near, map[string]string{"edited": fmt.Sprint("here", i)})
				p.mustUp()
				p.run(func() { write(t, p.far, map[string]string{"made": fmt.Sprint("there", i), "gone": fmt.Sprint(i)}) })
				files, states = append(files, copyOf(t, p.far)), append(states, copyOf(t, p.farState))
				p.mustBack()
			}
			remove(t, p.near, "gone")
			write(t, p.near, map[string]string{"edited": "last", "made": "mine"})
			maps.Copy(want, map[string]string{"edited": "last", "made": "mine"})
			for _, back := range [][2]string{{p.far, files[3-ago]}, {p.farState, states[3-ago]}} {
				must(t, os.RemoveAll(back[0]))
				must(t, exec.Command("cp", "-a", back[1], back[0]).Run())
			}
			_, err := p.up()
			if ago > 1 && err != nil {
				// What the last run had made when the machine was copied is the one
				// thing that it cannot know to have been fetched.
				if !fault.Is(err, fault.Conflict) {
					t.Fatal(err)
				}
			} else {
				must(t, err)
				if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
					t.Errorf("there:\n%s", diff)
				}
			}
			if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
				t.Errorf("here:\n%s", diff)
			}
		})
	}
}

// A command that makes its folder a link to another did not delete what was here, nor make all that is there.
func TestAFolderThatBecameALinkIsNotFollowed(t *testing.T) {
	for name, become := range map[string]func(p *pair, other string){
		"a link to a folder": func(p *pair, other string) { must(p.t, os.Symlink(other, p.far)) },
		"a link to itself":   func(p *pair, _ string) { must(p.t, os.Symlink(filepath.Base(p.far), p.far)) },
		"a file":             func(p *pair, _ string) { must(p.t, os.WriteFile(p.far, nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			write(t, p.near, project())
			p.mustUp()
			other := filepath.Join(t.TempDir(), "other")
			write(t, other, map[string]string{"passwd": "theirs"})
			must(t, baseline.RunBegan(p.farState, p.far))
			must(t, os.Rename(p.far, p.far+"-moved"))
			become(p, other)
			_ = baseline.RunEnded(p.farState, p.far) // what it finds is no folder
			if _, err := p.back(); !fault.Is(err, fault.RemoteFile) {
				t.Errorf("got %v, want RemoteFile", err)
			}
			if diff := cmp.Diff(project(), contents(t, p.near)); diff != "" {
				t.Errorf("here:\n%s", diff)
			}
		})
	}
}
