package podrelay

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// artifactRef is a step's artifact in a script. Tekton's entrypoint replaces it by the
// artifact's values if the script alone is what it executes, which with us it is not
// (applyStepArtifactSubstitutions in pkg/entrypoint of Tekton v1.12.0).
var artifactRef = regexp.MustCompile(`\$\(steps\.([^.]+)\.(inputs|outputs)\.([^.)]+)\)`)

// maxProvenance bounds what a step says of its artifacts, in bytes. A guess: it has to
// fit into the termination message in the end.
const maxProvenance = 1 << 20

// provenance is what a step says of its artifacts, as far as it is asked here.
type provenance struct {
	Inputs  []artifact `json:"inputs"`
	Outputs []artifact `json:"outputs"`
}

type artifact struct {
	Name   string          `json:"name"`
	Values []artifactValue `json:"values"`
}

// Its fields are written in this order, as Tekton does.
type artifactValue struct {
	Digest map[string]string `json:"digest,omitempty"`
	URI    string            `json:"uri,omitempty"`
}

// nameArtifacts puts the values of earlier steps' artifacts into the step's script. As with
// Tekton, one that is not there leaves the script as it is.
func (j *job) nameArtifacts(spec *wire.RunSpec) {
	if !j.plan.Tekton || len(spec.Argv) != 1 || filepath.Dir(spec.Argv[0]) != tekton+"/scripts" {
		return
	}
	script, err := readBounded(j.path(spec.Argv[0]), maxScript)
	if err != nil || !artifactRef.Match(script) {
		return // the machine has the file too, and says what is wrong with it
	}
	text := string(script)
	for _, m := range artifactRef.FindAllStringSubmatch(text, -1) {
		values, err := j.artifact(m[1], m[2], m[3])
		if err != nil {
			j.watch.Warn(m[0] + ": " + err.Error())
			return
		}
		text = strings.ReplaceAll(text, m[0], values)
	}
	spec.Script, spec.Argv = []byte(text), nil
}

// artifact returns the values of an artifact of an earlier step.
func (j *job) artifact(step, way, name string) (string, error) {
	status := stepsDir + "/step-" + step
	if to, err := os.Readlink(j.path(status)); err == nil && filepath.IsAbs(to) {
		status = to
	}
	b, err := readBounded(j.path(status+"/artifacts/provenance.json"), maxProvenance)
	if err != nil {
		return "", fault.New(fault.LocalFile, "step %s has no artifacts: %w", step, err)
	}
	var p provenance
	if err := json.Unmarshal(b, &p); err != nil {
		return "", fault.New(fault.LocalFile, "artifacts of step %s: %w", step, err)
	}
	all := p.Outputs
	if way == "inputs" {
		all = p.Inputs
	}
	for _, a := range all {
		if a.Name == name {
			values, err := json.Marshal(a.Values)
			return string(values), err
		}
	}
	return "", fault.New(fault.LocalFile, "step %s has no artifact of that name", step)
}

// readBounded reads a file that is not larger than most.
func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fault.New(fault.LocalFile, "larger than %d bytes", most)
	}
	return b, err
}
