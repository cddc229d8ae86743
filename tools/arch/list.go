package arch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"outrigger.dev/outrigger/internal/machine"
)

// Module is the path of the main module.
const Module = "outrigger.dev/outrigger"

// A Package is what the tests want to know of one, as `go list -json` tells it.
type Package struct {
	ImportPath  string
	Name        string
	Dir         string
	Doc         string
	Standard    bool
	GoFiles     []string
	TestGoFiles []string
	Imports     []string
	Deps        []string
}

// Path is the import path without the module: internal/wire.
func (p Package) Path() string { return strings.TrimPrefix(p.ImportPath, Module+"/") }

// List asks the go command about packages as they are on a platform, without cgo,
// as everything is built here.
func List(ctx context.Context, p machine.Platform, args ...string) ([]Package, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-json=ImportPath,Name,Dir,Doc,Standard,GoFiles,TestGoFiles,Imports,Deps"}, args...)...)
	cmd.Dir = "../.." // a test runs in its package's folder
	cmd.Env = append(os.Environ(), "GOOS="+p.OS, "GOARCH="+p.Arch, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("go list for %s: %s", p, exit.Stderr)
		}
		return nil, fmt.Errorf("go list for %s: %w", p, err)
	}
	var list []Package
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg Package
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", p, err)
		}
		list = append(list, pkg)
	}
}
