package admit

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/worksync/ignore"
)

// What a volume's sync annotation may say.
const (
	syncBoth = "both"
	syncUp   = "up"
	syncNone = "none"
)

const (
	networkCluster = "cluster"
	maxImage       = 512            // of MachineClaim's schema
	maxKeep        = 24 * time.Hour // a lease lasts no longer, and a machine that nobody looks at serves nobody
)

// settings are what the annotations say.
type settings struct {
	image    string
	keep     time.Duration
	priority int32
	network  string
	services []handoff.Forward
	sync     map[string]string   // by volume
	exclude  map[string][]string // by volume; "": all
}

// settings reads the annotations, all but those of pool and containers.
func (r *rewrite) settings() {
	r.set = settings{sync: map[string]string{}, exclude: map[string][]string{}}
	var mine []string
	for key := range r.Annotations {
		if strings.HasPrefix(key, ours) {
			mine = append(mine, key)
		}
	}
	slices.Sort(mine)
	for _, key := range mine {
		if r.problems.full() {
			return
		}
		if err := r.setting(key, r.Annotations[key]); err != "" {
			r.problems.add("%s: %s", key, err)
		}
	}
}

// setting reads one annotation and returns what is wrong with it.
func (r *rewrite) setting(key, value string) string {
	if volume, ok := strings.CutPrefix(key, v1alpha1.AnnotationSyncPrefix); ok {
		return r.syncSetting(volume, value)
	}
	switch key {
	case v1alpha1.AnnotationPool, v1alpha1.AnnotationContainers:
	case v1alpha1.AnnotationExclude:
		return r.excludeSetting(value)
	case v1alpha1.AnnotationImage:
		if value == "" || len(value) > maxImage || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
			return fmt.Sprintf("%s is no image, want a name of at most %d bytes without blanks", quote(value), maxImage)
		}
		r.set.image = value
	case v1alpha1.AnnotationKeep:
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 || d > maxKeep {
			return fmt.Sprintf("%s is no duration to keep a machine for, want one such as 30m or 2h, at most 24h", quote(value))
		}
		r.set.keep = d
	case v1alpha1.AnnotationNetwork:
		if value != networkCluster {
			return fmt.Sprintf("%s is no network, want %s", quote(value), networkCluster)
		}
		r.set.network = value
	case v1alpha1.AnnotationPriority:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return fmt.Sprintf("%s is no priority, want an integer such as 10 or -5", quote(value))
		}
		r.set.priority = int32(n)
		if most := r.pool.MaxPriority; most != nil && r.set.priority > *most {
			r.poolProblem = true
			return fmt.Sprintf("%d is more than the %d that pool %s allows (maxPriority)", n, *most, r.pool.Name)
		}
	case v1alpha1.AnnotationServices:
		return r.servicesSetting(value)
	default:
		if isWritten(key) {
			return ""
		}
		return "there is no such annotation" + suggestAnnotation(key)
	}
	return ""
}

// suggestAnnotation compares what is behind the prefix: with it, all would be alike.
func suggestAnnotation(key string) string {
	known := append([]string{v1alpha1.AnnotationPool, v1alpha1.AnnotationSyncPrefix + "VOLUME"}, settable...)
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = strings.TrimPrefix(k, ours)
	}
	if near, ok := nearest(strings.TrimPrefix(key, ours), words); ok {
		return fmt.Sprintf(", did you mean %s%s?", ours, near)
	}
	return ", want " + oneOf(known)
}

func (r *rewrite) syncSetting(name, value string) string {
	volume := r.volume(name)
	if volume == "" {
		return fmt.Sprintf("the Pod has no volume %s%s", quote(name), suggest(name, r.known.names))
	}
	switch value {
	case syncBoth, syncUp, syncNone:
		r.set.sync[volume] = value
		return ""
	}
	return fmt.Sprintf("%s says nothing, want both, up or none", quote(value))
}

// excludeSetting reads patterns, one per line, those for one volume behind its name and a colon.
func (r *rewrite) excludeSetting(value string) string {
	lines := slices.DeleteFunc(ignore.Lines(value), func(line string) bool { return strings.TrimSpace(line) == "" })
	if len(lines) > maxExcludes {
		return fmt.Sprintf("has %d patterns, want at most %d", len(lines), maxExcludes)
	}
	var bad wrong
	for _, line := range lines {
		volume := ""
		if name, pattern, ok := strings.Cut(line, ":"); ok && len(validation.IsDNS1123Label(name)) == 0 {
			if volume = r.volume(name); volume == "" {
				if bad.full() {
					break
				}
				bad.add("%s: the Pod has no volume %s%s; a colon that belongs to the pattern is written \\:",
					quote(line), quote(name), suggest(name, r.known.names))
				continue
			}
			line = pattern
		}
		r.set.exclude[volume] = append(r.set.exclude[volume], line)
	}
	all := slices.Concat(slices.Collect(maps.Values(r.set.exclude))...)
	if _, err := ignore.Parse(all); err != nil {
		bad.add("%s", err)
	}
	return bad.String()
}

// service is "PORT=HOST:PORT" or "HOST:PORT".
var service = regexp.MustCompile(`^(?:([0-9]+)=)?(.+):([0-9]+)$`)

func (r *rewrite) servicesSetting(value string) string {
	var bad wrong
	taken := map[int]bool{}
	for item := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ',' || c == '\n' }) {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if len(r.set.services) == maxServices || bad.full() {
			bad.add("at most %d services are wanted", maxServices)
			break
		}
		f, ok := parseService(item)
		switch {
		case !ok:
			bad.add("%s is no service, want HOST:PORT or LOCALPORT=HOST:PORT such as postgres.db:5432 or 8080=web:80", quote(item))
		case taken[f.Port]:
			bad.add("%s: port %d of the machine is taken by another one, want LOCALPORT=HOST:PORT with another LOCALPORT",
				quote(item), f.Port)
		default:
			taken[f.Port] = true
			r.set.services = append(r.set.services, f)
		}
	}
	if bad == nil && r.set.services == nil {
		return "names no service, want HOST:PORT or LOCALPORT=HOST:PORT, separated by commas"
	}
	return bad.String()
}

func parseService(item string) (handoff.Forward, bool) {
	m := service.FindStringSubmatch(item)
	if m == nil {
		return handoff.Forward{}, false
	}
	host := strings.ToLower(m[2])
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || !strings.HasSuffix(inner, "]") {
			return handoff.Forward{}, false
		}
	} else if len(validation.IsDNS1123Subdomain(strings.TrimSuffix(host, "."))) > 0 {
		return handoff.Forward{}, false
	}
	local := m[1]
	if local == "" {
		local = m[3]
	}
	at, to := parsePort(local), parsePort(m[3])
	return handoff.Forward{Port: at, To: fmt.Sprintf("%s:%d", host, to)}, at > 0 && to > 0
}

// parsePort returns 0 for what is no port.
func parsePort(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0
	}
	return n
}
