package step

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

func TestViews(t *testing.T) {
	all, err := readMounts(strings.NewReader(`1 0 8:1 / / rw - ext4 /dev/vda rw
2 1 8:1 / /workspace rw,relatime - ext4 /dev/vda rw
3 1 8:1 / /workspace/source rw,relatime shared:1 - ext4 /dev/vda rw
4 1 0:5 / /workspace/signing\040keys ro,relatime - tmpfs tmpfs rw
5 1 0:5 / /workspaces rw - tmpfs tmpfs rw
6 1 0:5 / /tekton/results rw - tmpfs tmpfs rw
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range views("step", []string{"/workspace", "/tekton/results", "/workspace/source"}, all, nil) {
		for _, m := range v.Mounts {
			how := "both"
			if v.Up {
				how = "up"
			}
			got = append(got, m.Path+" "+how)
		}
	}
	want := []string{"/workspace both", "/workspace/source both", "/tekton/results both", "/workspace/signing keys up", "/tekton/creds up"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestContent(t *testing.T) {
	for _, tt := range []struct{ name, text, os, want string }{
		{"an interpreter of its own", "#!/outrigger/bin/step\n#!/usr/bin/env bash\necho\n", "darwin", "#!/usr/bin/env bash\necho\n"},
		{"none", "#!/outrigger/bin/step\necho\n", "darwin", "#!/bin/sh\nset -e\necho\n"},
		{"not as an interpreter", "echo\n", "linux", "#!/bin/sh\nset -e\necho\n"},
		{"another interpreter", "#!/bin/footstep x\necho\n", "linux", "#!/bin/footstep x\necho\n"},
		{"nothing", "#!/outrigger/bin/step", "linux", "#!/bin/sh\nset -e\n"},
		{"Windows", "#!/outrigger/bin/step\n#!win powershell.exe -File\ndir\n", "windows", "#!win powershell.exe -File\ndir\n"},
		{"Windows without an interpreter", "#!/outrigger/bin/step\ndir\n", "windows", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := content([]byte(tt.text), machine.Platform{OS: tt.os})
			if string(got) != tt.want || fault.Is(err, fault.BadScript) != (tt.want == "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
