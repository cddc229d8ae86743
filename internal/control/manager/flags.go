package manager

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"outrigger.dev/outrigger/internal/config/strict"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
)

const (
	off              = "0" // of an address: do not listen
	imageAgents      = handoff.AgentsDir
	defaultNamespace = "outrigger-system"
	// inCluster is the variable by which a Pod knows that it is one (client-go, rest.InClusterConfig).
	inCluster = "KUBERNETES_SERVICE_HOST"
)

// flags are what the program was told.
type flags struct {
	set *pflag.FlagSet

	namespace, clusterID                string
	kubeconfig, context                 string
	state, agents                       string
	relayImage                          string
	webhook, webhookURL, webhookService string
	webhookClientCA                     string
	metrics, health                     string
	hubURL, hubCA, hubPassKey           string
	elect                               bool
	logLevel, logFormat                 string
	version                             bool
}

func newFlags() *flags {
	f := &flags{set: pflag.NewFlagSet("controller", pflag.ContinueOnError)}
	s := f.set
	s.SortFlags = false
	s.SetOutput(io.Discard)
	s.StringVar(&f.namespace, "namespace", defaultNamespace, "`namespace` of the controller's own objects, and of pools' login Secrets")
	s.StringVar(&f.relayImage, "relay-image", "", "`image` that runs in the place of what runs on machines")
	s.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: the Pod's service account, else $KUBECONFIG, else ~/.kube/config)")
	s.StringVar(&f.context, "context", "", "`name` of the kubeconfig's context (default: its current one)")
	s.StringVar(&f.clusterID, "cluster-id", "", "what marks machines at providers as this cluster's (default: the beginning of the UID of the namespace kube-system)")
	s.BoolVar(&f.elect, "leader-elect", false, "be one of several controllers, of which one works and all answer the webhook")
	s.StringVar(&f.webhook, "webhook-address", ":9443", "where the API server is answered, `[HOST]:PORT`; 0: no webhook")
	s.StringVar(&f.webhookURL, "webhook-url", "", "where the API server reaches --webhook-address, `https://HOST:PORT`; needed outside of the cluster")
	s.StringVar(&f.webhookService, "webhook-service", "outrigger-webhook", "`name` of the Service through which the API server reaches it, if there is no --webhook-url")
	s.StringVar(&f.webhookClientCA, "webhook-client-ca", "", "PEM `file` of who vouches for the API server's client certificate; without it anybody is answered")
	s.StringVar(&f.metrics, "metrics-bind-address", ":8080", "where metrics are served, `[HOST]:PORT`; 0: not at all")
	s.StringVar(&f.health, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served, `[HOST]:PORT`; 0: not at all")
	s.StringVar(&f.state, "state-dir", "/var/lib/outrigger", "`folder` for what providers keep on disk: VMs, host keys learnt at the first contact")
	s.StringVar(&f.agents, "agents", "", "`folder` with the agents of all platforms (default: "+imageAgents+", else agents beside the program)")
	s.StringVar(&f.hubURL, "hub-url", "", "where the hub of outposts is reached, by Pods too, `https://HOST:PORT`; needed by pools with reach.network")
	s.StringVar(&f.hubCA, "hub-ca-file", "", "PEM `file` of who vouches for the hub (default: the system's authorities, which relays lack)")
	s.StringVar(&f.hubPassKey, "hub-pass-key", "", "`file` with the key that signs passes for the hub, made by outrigger outpost init")
	s.StringVar(&f.logLevel, "log-level", "info", "`level`: "+strings.Join(logLevels, ", "))
	s.StringVar(&f.logFormat, "log-format", "text", "`format`: "+strings.Join(logFormats, ", "))
	s.BoolVar(&f.version, "version", false, "tell which build this is")
	return f
}

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

func (f *flags) help() string {
	return `Keep pools of machines and give them to Pods.

Usage:
  controller --relay-image IMAGE [flags]

Examples:
  controller --relay-image registry.example.com/outrigger/relay:v1 --leader-elect
  controller --relay-image relay:v1 --kubeconfig admin.conf --webhook-url https://10.0.0.7:9443

Flags:
` + f.set.FlagUsagesWrapped(100)
}

// parse reads and checks the arguments. All that is wrong is said in one error.
func (f *flags) parse(args []string) error {
	if err := f.set.Parse(args); err != nil {
		return f.explain(err)
	}
	if f.version {
		return nil
	}
	if f.set.NArg() > 0 {
		return usage("found %q, want flags only", f.set.Arg(0))
	}
	var wrong []string
	for _, check := range []func() string{
		f.checkNamespace, f.checkClusterID, f.checkAddresses, f.checkWebhook, f.checkHub,
		func() string { return oneOf("--log-level", f.logLevel, logLevels) },
		func() string { return oneOf("--log-format", f.logFormat, logFormats) },
	} {
		if problem := check(); problem != "" {
			wrong = append(wrong, problem)
		}
	}
	if len(wrong) > 0 {
		return usage("%s", strings.Join(wrong, "; "))
	}
	return nil
}

func usage(format string, args ...any) error {
	return fault.New(fault.Usage, format, args...).WithRemedy("See controller --help.")
}

// explain puts what pflag found wrong into our words.
func (f *flags) explain(err error) error {
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		name := "--" + unknown.GetSpecifiedName()
		var known []string
		f.set.VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
		if near, ok := strict.Nearest(name, known); ok {
			return usage("unknown flag %s, did you mean %s?", name, near)
		}
		return usage("unknown flag %s", name)
	case errors.As(err, &value):
		return usage("--%s %q: want true or false", value.GetFlag().Name, value.GetValue()) // only those are checked
	case errors.As(err, &missing):
		return usage("--%s wants a value", missing.GetSpecifiedName())
	}
	return usage("%w", err)
}

func (f *flags) checkNamespace() string {
	if len(validation.IsDNS1123Label(f.namespace)) > 0 {
		return fmt.Sprintf("--namespace %q: want the name of a namespace", f.namespace)
	}
	return ""
}

// maxClusterID leaves room for the pool's name beside it at providers.
const maxClusterID = 20

func (f *flags) checkClusterID() string {
	if f.clusterID != "" && (len(f.clusterID) > maxClusterID || len(validation.IsDNS1123Label(f.clusterID)) > 0) {
		return fmt.Sprintf("--cluster-id %q: want at most %d of a-z, 0-9 and \"-\", starting and ending with a letter or digit", f.clusterID, maxClusterID)
	}
	return ""
}

func (f *flags) checkAddresses() string {
	var wrong []string
	seen := map[string]string{}
	for _, a := range []struct{ flag, value string }{
		{"--webhook-address", f.webhook}, {"--metrics-bind-address", f.metrics}, {"--health-probe-bind-address", f.health},
	} {
		if a.value == off {
			continue
		}
		_, port, err := net.SplitHostPort(a.value)
		n, perr := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || perr != nil || n == 0:
			wrong = append(wrong, fmt.Sprintf("%s %q: want HOST:PORT, :PORT, or 0 for none", a.flag, a.value))
		case seen[a.value] != "":
			wrong = append(wrong, fmt.Sprintf("%s and %s are both %s", seen[a.value], a.flag, a.value))
		}
		seen[a.value] = a.flag
	}
	return strings.Join(wrong, "; ")
}

func (f *flags) checkWebhook() string {
	if f.webhook == off {
		if f.webhookURL != "" {
			return "--webhook-url says where --webhook-address is reached, and that is 0"
		}
		return ""
	}
	var wrong []string
	if f.relayImage == "" || strings.ContainsFunc(f.relayImage, func(c rune) bool { return c <= ' ' }) {
		wrong = append(wrong, fmt.Sprintf("--relay-image %q: want the image of relays, or --webhook-address=0 for a controller that rewrites no Pods", f.relayImage))
	}
	outside := f.kubeconfig != "" || f.context != "" || os.Getenv(inCluster) == ""
	switch u, err := url.Parse(f.webhookURL); {
	case f.webhookURL == "" && outside && !f.set.Changed("webhook-service"):
		wrong = append(wrong, "--webhook-url is missing: outside of the cluster the API server has no Service to reach this controller; "+
			"want https://HOST:PORT, --webhook-service, or --webhook-address=0 for no webhook")
	case f.webhookURL != "" && (err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != ""):
		wrong = append(wrong, fmt.Sprintf("--webhook-url %q: want https://HOST:PORT", f.webhookURL))
	case len(validation.IsDNS1035Label(f.webhookService)) > 0:
		wrong = append(wrong, fmt.Sprintf("--webhook-service %q: want the name of a Service", f.webhookService))
	}
	return strings.Join(wrong, "; ")
}

func (f *flags) checkHub() string {
	if f.hubURL == "" {
		if f.hubCA != "" || f.hubPassKey != "" {
			return "--hub-ca-file and --hub-pass-key belong to --hub-url, which is missing"
		}
		return ""
	}
	u, err := url.Parse(f.hubURL)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Sprintf("--hub-url %q: want https://HOST:PORT", f.hubURL)
	case f.hubPassKey == "":
		return "--hub-pass-key is missing: without it no Pod gets a pass for the hub"
	}
	return ""
}

func oneOf(flag, value string, known []string) string {
	if slices.Contains(known, value) {
		return ""
	}
	return fmt.Sprintf("%s %q: want %s", flag, value, strings.Join(known, ", "))
}

// logger writes what the flags ask for.
func (f *flags) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.logLevel)) // was checked
	o := &slog.HandlerOptions{Level: level}
	if f.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
