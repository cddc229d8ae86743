package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Recipe says what is in an image.
type Recipe struct {
	Name    string   // the image's, after the registry
	Program string   // of linux-ARCH/, put into /outrigger/bin
	Links   []string // other names of the program there
	Env     []string // beside PATH
	User    string   // "": whatever the Pod says, else root
	Title   string
}

// The relay takes the place of whatever image a container has, so its user is
// the container's. The CLI runs as whoever the Task says.
var recipes = []Recipe{
	{Name: "relay", Program: "relay", Links: []string{"shell"}, Title: "Outrigger's relay: runs a container's command on a machine"},
	{Name: "controller", Program: "controller", User: "65532:65532", Title: "Outrigger's controller: pools of machines, and the webhook"},
	{Name: "cli", Program: "outrigger", Links: []string{"step"}, Env: []string{"OUTRIGGER_AGENTS=/outrigger/agents"}, Title: "Outrigger's command line, for steps of Tasks"},
}

// buildAll writes OUT/NAME.tar for each recipe: an index of the architectures, in Go's words.
func buildAll(bin, out, registry, version string, architectures []string) error {
	agents, err := agentsLayer(filepath.Join(bin, "agents"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, r := range recipes {
		index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		var size int64
		for _, arch := range architectures {
			image, err := r.build(bin, arch, version, agents)
			if err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			if size, err = weight(image); err != nil {
				return err
			}
			index = mutate.AppendManifests(index, mutate.IndexAddendum{
				Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
			})
		}
		file := filepath.Join(out, r.Name+".tar")
		if err := writeArchive(file, registry+"/"+r.Name+":"+version, index); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		fmt.Printf("%s:%s  %.1f MiB to pull  %s\n", registry+"/"+r.Name, version, float64(size)/(1<<20), digest)
	}
	return nil
}

func (r Recipe) build(bin, arch, version string, agents v1.Layer) (v1.Image, error) {
	program, err := r.layer(bin, arch)
	if err != nil {
		return nil, err
	}
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{path.Join("/outrigger/bin", r.Program)},
			Env:        append([]string{"PATH=/outrigger/bin"}, r.Env...),
			User:       r.User,
			WorkingDir: "/",
			Labels: map[string]string{
				"org.opencontainers.image.title":    r.Title,
				"org.opencontainers.image.version":  version,
				"org.opencontainers.image.licenses": "Apache-2.0",
			},
		},
	})
	if err != nil {
		return nil, err
	}
	// What changes least comes first.
	return mutate.AppendLayers(image, agents, program)
}

// layer holds the program, and the one folder that everybody may write to.
func (r Recipe) layer(bin, arch string) (v1.Layer, error) {
	content, err := os.ReadFile(filepath.Join(bin, "linux-"+arch, r.Program))
	if err != nil {
		return nil, err
	}
	entries := []entry{
		{name: "outrigger", mode: fs.ModeDir | 0o755},
		{name: "outrigger/bin", mode: fs.ModeDir | 0o755},
		{name: "outrigger/bin/" + r.Program, mode: 0o755, content: content},
		{name: "tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	for _, l := range r.Links {
		entries = append(entries, entry{name: "outrigger/bin/" + l, link: r.Program})
	}
	return layer(entries)
}

// agentsLayer holds what machines are given, with the digests that spare the
// programs reading it all at each start.
func agentsLayer(dir string) (v1.Layer, error) {
	names, err := filepath.Glob(filepath.Join(dir, "outrigger-agent-*"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no agents in %s: build them with make build", dir)
	}
	slices.Sort(names)
	entries := []entry{
		{name: "outrigger", mode: fs.ModeDir | 0o755},
		{name: "outrigger/agents", mode: fs.ModeDir | 0o755},
	}
	for _, name := range append(names, filepath.Join(dir, "SHA256SUMS")) {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		mode := fs.FileMode(0o755)
		if filepath.Base(name) == "SHA256SUMS" {
			mode = 0o644
		}
		entries = append(entries, entry{name: "outrigger/agents/" + filepath.Base(name), mode: mode, content: content})
	}
	return layer(entries)
}

// weight is what a node pulls: the compressed layers.
func weight(image v1.Image) (int64, error) {
	m, err := image.Manifest()
	if err != nil {
		return 0, err
	}
	size := m.Config.Size
	for _, l := range m.Layers {
		size += l.Size
	}
	return size, nil
}
