package podrelay

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/sanitize"
)

const (
	// tektonTermination is the file that becomes a step's termination message. Tekton's entrypoint
	// adds to the results that it finds there (WriteMessage in pkg/termination of Tekton v1.12.0).
	tektonTermination = "/tekton/termination"
	// internalResult is the type of a result that Tekton keeps to itself (pkg/result).
	internalResult = 3
	// maxLeft is what is said of results that are left, in bytes: a termination message has 4096.
	maxLeft = 512
	// maxMessage bounds a termination message that is read to be added to.
	maxMessage = 64 << 10
)

// leave tells everybody that results are on the machine and nowhere else: the claim, which keeps the
// machine for a while, and whoever reads the log. It returns what the log says.
func (j *job) leave(work string, cause error) string {
	if err := j.mark(sanitize.Line(cause.Error(), maxLeft)); err != nil {
		j.watch.log.Debug("results that are left are not told to the claim", "error", err)
	}
	namespace, name, _ := strings.Cut(j.claim.Name, "/")
	where := "machine " + string(j.claim.Machine)
	if work != "" {
		where += ", in " + work
	}
	return fmt.Sprintf("What did not come back is on %s. Its claim keeps it for a while, as long as the Pod is there:\n"+
		"kubectl -n %s describe machineclaim %s   says until when\n"+
		"outrigger fetch --claim %s -n %s   brings what is in the Pod's volumes there",
		where, namespace, name, name, namespace)
}

// mark writes into the container's termination message what the controller looks for.
func (j *job) mark(text string) error {
	if j.plan.Tekton {
		return markResults(j.path(tektonTermination), text)
	}
	name := j.plan.TerminationLog
	if name == "" {
		return fault.New(fault.LocalFile, "the container has no termination message")
	}
	f, err := os.OpenFile(j.path(name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fault.New(fault.LocalFile, "termination message: %w", err)
	}
	defer f.Close()
	// The command may not have ended its last line.
	if _, err := fmt.Fprintf(f, "\n%s: %s\n", handoff.ResultsLeft, text); err != nil {
		return fault.New(fault.LocalFile, "termination message: %w", err)
	}
	return nil
}

// markResults adds a result to those that are in the file.
func markResults(name, text string) error {
	b, err := readBounded(name, maxMessage)
	if err != nil && !os.IsNotExist(err) {
		return fault.New(fault.LocalFile, "termination message: %w", err)
	}
	list := []any{}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &list); err != nil {
			return fault.New(fault.LocalFile, "termination message: %w", err)
		}
	}
	list = append(list, map[string]any{"key": handoff.ResultsLeft, "value": text, "type": internalResult})
	if b, err = json.Marshal(list); err == nil {
		err = os.WriteFile(name, b, 0o644)
	}
	if err != nil {
		return fault.New(fault.LocalFile, "termination message: %w", err)
	}
	return nil
}
