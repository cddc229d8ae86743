package proc

import (
	"fmt"
	"strconv"
	"strings"
)

// LimitsVerb is the agent's verb that [ExecLimited] carries out.
const LimitsVerb = "limits"

// A Limit is one of the system's limits of a process, see getrlimit(2).
type Limit struct {
	Resource   int
	Soft, Hard uint64
}

// String is what parseLimit reads.
func (l Limit) String() string { return fmt.Sprintf("%d:%d:%d", l.Resource, l.Soft, l.Hard) }

// ParseLimit reads what [Limit.String] writes.
func ParseLimit(s string) (Limit, bool) {
	f := strings.Split(s, ":")
	if len(f) != 3 {
		return Limit{}, false
	}
	resource, err1 := strconv.Atoi(f[0])
	soft, err2 := strconv.ParseUint(f[1], 10, 64)
	hard, err3 := strconv.ParseUint(f[2], 10, 64)
	return Limit{resource, soft, hard}, err1 == nil && err2 == nil && err3 == nil
}

// Limited returns spec so that it is executed with limits, through self, the agent's program: they
// can be set only from within a process.
func Limited(spec Spec, self string, limits []Limit) Spec {
	if len(limits) == 0 {
		return spec
	}
	var words []string
	for _, l := range limits {
		words = append(words, l.String())
	}
	spec.Argv = append([]string{self, LimitsVerb, strings.Join(words, ","), spec.Path}, spec.Argv...)
	spec.Path = self
	return spec
}
