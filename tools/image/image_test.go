package main

import (
	"archive/tar"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var architectures = []string{"amd64", "arm64"}

// programs writes what `make images` finds, with the file's own name as content.
func programs(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	files := []string{"agents/outrigger-agent-linux-amd64", "agents/outrigger-agent-windows-amd64.exe", "agents/SHA256SUMS"}
	for _, r := range recipes {
		for _, arch := range architectures {
			files = append(files, "linux-"+arch+"/"+r.Program)
		}
	}
	for _, f := range files {
		path := filepath.Join(bin, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

func TestPushedImagesHoldThePrograms(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	out := t.TempDir()
	if err := buildAll(programs(t), out, "registry.local/outrigger", "v1", architectures); err != nil {
		t.Fatal(err)
	}
	if err := pushAll(t.Context(), out, host+"/some/folder", "v1"); err != nil {
		t.Fatal(err)
	}
	for _, r := range recipes {
		for _, arch := range architectures {
			ref, err := name.ParseReference(host + "/some/folder/" + r.Name + ":v1")
			if err != nil {
				t.Fatal(err)
			}
			image, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(image); err != nil {
				t.Errorf("%s for %s: %v", r.Name, arch, err)
			}
			files := unpacked(t, image)
			if got, want := files["outrigger/bin/"+r.Program], "linux-"+arch+"/"+r.Program; got != want {
				t.Errorf("%s for %s: program is %q, want %q", r.Name, arch, got, want)
			}
			for _, l := range r.Links {
				if got := files["outrigger/bin/"+l]; got != "-> "+r.Program {
					t.Errorf("%s: %s is %q", r.Name, l, got)
				}
			}
			if _, ok := files["outrigger/agents/outrigger-agent-windows-amd64.exe"]; !ok {
				t.Errorf("%s: an agent is missing", r.Name)
			}
			config, err := image.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if config.Config.User != r.User || config.Config.Entrypoint[0] != "/outrigger/bin/"+r.Program {
				t.Errorf("%s: user %q, entrypoint %q", r.Name, config.Config.User, config.Config.Entrypoint)
			}
		}
	}
}

func unpacked(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	flat := mutate.Extract(image)
	defer flat.Close()
	files := map[string]string{}
	for r := tar.NewReader(flat); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(h.Name, "/")] = string(content)
		if h.Typeflag == tar.TypeSymlink {
			files[h.Name] = "-> " + h.Linkname
		}
	}
}

func TestTheSameProgramsMakeTheSameArchive(t *testing.T) {
	archives := [2]string{}
	for i := range archives {
		out := t.TempDir()
		if err := buildAll(programs(t), out, "r", "v1", architectures); err != nil {
			t.Fatal(err)
		}
		for _, r := range recipes {
			b, err := os.ReadFile(filepath.Join(out, r.Name+".tar"))
			if err != nil {
				t.Fatal(err)
			}
			archives[i] += string(b)
		}
	}
	if archives[0] != archives[1] {
		t.Error("two builds differ")
	}
}

func TestNoAgents(t *testing.T) {
	err := buildAll(t.TempDir(), t.TempDir(), "r", "v1", architectures)
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("error is %v", err)
	}
}
