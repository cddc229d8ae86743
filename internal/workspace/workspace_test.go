package workspace_test

import (
	"os"
	"path/filepath"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/workspace"
)

func take(t *testing.T, state string, m machine.Name, dir string) *workspace.Workspace {
	t.Helper()
	w, err := workspace.Open(t.Context(), state, m, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestAWorkspaceIsRememberedUntilItIsForgotten(t *testing.T) {
	state, dir := t.TempDir(), t.TempDir()
	w := take(t, state, "box", dir)
	if _, err := workspace.Open(t.Context(), state, "box", dir, ""); !fault.Is(err, fault.Busy) {
		t.Errorf("a second run in it: %v, want Busy", err)
	}
	other := take(t, state, "box", t.TempDir()) // another folder is another workspace
	if other.ID == w.ID || other.StateDir() == w.StateDir() {
		t.Error("two folders share a workspace")
	}
	if err := os.MkdirAll(w.StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again := take(t, state, "box", dir)
	if again.ID != w.ID || !exists(again.StateDir()) {
		t.Error("it is not remembered")
	}
	if err := again.Forget(); err != nil {
		t.Fatal(err)
	}
	if exists(again.StateDir()) {
		t.Error("it is not forgotten")
	}
	if err := other.Forget(); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(state, "workspaces", "box")) {
		t.Error("the machine's folder is left")
	}
}

// A run that was killed leaves its mark, and perhaps files on their way. The next one, or a sweep,
// removes those, and no others.
func TestWhatAKilledRunLeaves(t *testing.T) {
	for name, clean := range map[string]func(t *testing.T, state, dir string){
		"the next run": func(t *testing.T, state, dir string) {
			if err := take(t, state, "box", dir).Close(); err != nil {
				t.Fatal(err)
			}
		},
		"a sweep": func(t *testing.T, state, _ string) {
			got, err := workspace.Sweep(t.Context(), state, func(machine.Name) bool { return true })
			if err != nil || got != (workspace.Swept{TempFiles: 1}) {
				t.Errorf("%+v, %v", got, err)
			}
		},
		"a sweep after the machine": func(t *testing.T, state, _ string) {
			got, err := workspace.Sweep(t.Context(), state, func(machine.Name) bool { return false })
			if err != nil || got != (workspace.Swept{TempFiles: 1, Workspaces: 1}) {
				t.Errorf("%+v, %v", got, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			state, dir := t.TempDir(), t.TempDir()
			w := take(t, state, "box", dir)
			mark := filepath.Join(filepath.Dir(w.StateDir()), "running")
			b, err := os.ReadFile(mark)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil { // as a kill does, but for the mark
				t.Fatal(err)
			}
			temp := filepath.Join(dir, ".outrigger-tmp-"+w.TempTag+"-1")
			mine := filepath.Join(dir, "mine")
			for path, content := range map[string]string{mark: string(b), temp: "half", mine: "whole"} {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			clean(t, state, dir)
			if exists(temp) || !exists(mine) || exists(mark) {
				t.Errorf("temporary file left: %v, mine left: %v, mark left: %v", exists(temp), exists(mine), exists(mark))
			}
		})
	}
}
