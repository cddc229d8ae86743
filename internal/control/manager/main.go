package manager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/admit/webhook"
	"outrigger.dev/outrigger/internal/control/places"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/version"
)

// Main is [Run] for a process that is the controller and nothing else: the
// loggers of client-go and controller-runtime, of which a process has one, are the controller's.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return exit(stderr, run(ctx, args, stdout, stderr, func(log *slog.Logger) {
		klog.SetLogger(libraries(log))
		ctrl.SetLogger(libraries(log))
	}))
}

// Run is the program: it runs the controller until ctx ends, and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return exit(stderr, run(ctx, args, stdout, stderr, func(*slog.Logger) {}))
}

func exit(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	text := "controller: " + err.Error() + "\n"
	if remedy := fault.Remedy(err); remedy != "" {
		text += remedy + "\n"
	}
	_, _ = io.WriteString(stderr, text) // nobody is left to be told that it failed
	return fault.ExitCode(err)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer, logsTo func(*slog.Logger)) error {
	f := newFlags()
	switch err := f.parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		_, err := io.WriteString(stdout, f.help())
		return err
	case err != nil:
		return err
	case f.version:
		_, err := fmt.Fprintf(stdout, "outrigger controller %s %s %s\n",
			version.Version, machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}, runtime.Version())
		return err
	}
	log := f.logger(stderr)
	logsTo(log)
	rc, err := f.cluster()
	if err != nil {
		return err
	}
	o, err := f.options(log)
	if err != nil {
		return err
	}
	mgr, err := New(ctx, rc, o)
	if err != nil {
		return err
	}
	log.Info("controller begins", "version", version.Version, "cluster", rc.Host, "namespace", o.Namespace)
	return start(ctx, mgr, log)
}

// start runs the manager. That it stops because it was told to is no error.
func start(ctx context.Context, mgr ctrl.Manager, log *slog.Logger) error {
	err := mgr.Start(ctx)
	switch {
	case ctx.Err() != nil:
		if err != nil {
			log.Warn("controller did not stop in order", "error", err)
		}
		log.Info("controller ends")
		return nil
	case err != nil:
		return fault.New(fault.Of(err), "%w", err).
			WithRemedy("It is to be started again: all that it knows is in the cluster and at the providers.")
	}
	return nil
}

// cluster finds the API server: that of the kubeconfig, or of the Pod's service account.
func (f *flags) cluster() (*rest.Config, error) {
	if f.kubeconfig == "" && f.context == "" {
		if rc, err := rest.InClusterConfig(); err == nil {
			return rc, nil
		} else if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, fault.New(fault.Config, "service account: %w", err).WithRemedy("Mount the service account's token, or give --kubeconfig.")
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	rc, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if err != nil {
		return nil, fault.New(fault.Config, "cluster: %w", err).WithRemedy("Say which cluster with --kubeconfig FILE, --context NAME or $KUBECONFIG.")
	}
	return rc, nil
}

// options opens what the flags name.
func (f *flags) options(log *slog.Logger) (Options, error) {
	if err := os.MkdirAll(f.state, 0o700); err != nil {
		return Options{}, fault.New(fault.LocalFile, "--state-dir: %w", err).WithRemedy("Name a folder that this user can write, which outlives the controller.")
	}
	agents, err := f.findAgents()
	if err != nil {
		return Options{}, err
	}
	hub, err := f.hub()
	if err != nil {
		return Options{}, err
	}
	over := readier(agents, log)
	where := places.New(all.Place{State: f.state, Agents: agents, Log: log}).Behind(hub)
	o := Options{
		Namespace: f.namespace, ClusterID: f.clusterID, LeaderElect: f.elect,
		MetricsAddress: f.metrics, ProbeAddress: f.health, Log: log,
		Places: where, LeasesWith: where.LeasesWith,
		Readier: over, Maker: over,
	}
	if hub != nil {
		o.Renew = hub.Renew
	}
	if f.webhook == off {
		return o, nil
	}
	var clients []byte
	if f.webhookClientCA != "" {
		if clients, err = os.ReadFile(f.webhookClientCA); err != nil {
			return o, fault.New(fault.Config, "--webhook-client-ca: %w", err)
		}
	}
	o.Webhook, err = webhook.New(webhook.Options{
		Namespace: f.namespace, Address: f.webhook, URL: f.webhookURL, Service: f.webhookService, ClientCA: clients,
		Relay: admit.Config{RelayImage: f.relayImage}, Log: log,
	})
	return o, err
}

// hub reads what the flags say of a hub; nil: there is none.
func (f *flags) hub() (*places.Hub, error) {
	if f.hubURL == "" {
		return nil, nil
	}
	h := &places.Hub{URL: f.hubURL}
	key, err := os.ReadFile(f.hubPassKey)
	if err == nil {
		h.Signer, err = creds.ParseSigner(key)
	}
	if err != nil {
		return nil, fault.New(fault.Config, "--hub-pass-key: %w", err).WithRemedy("It is the file pass.key that outrigger outpost init makes.")
	}
	if f.hubCA != "" {
		ca, err := os.ReadFile(f.hubCA)
		if err != nil {
			return nil, fault.New(fault.Config, "--hub-ca-file: %w", err).WithRemedy("It is the hub's tls.crt, or the certificate of who signed it.")
		}
		h.CA = string(ca)
	}
	return h, nil
}

// findAgents finds what machines are given: in the folder that is named, where
// the image has them, or beside this program.
func (f *flags) findAgents() (deliver.Source, error) {
	if f.agents == "" {
		if _, err := os.Stat(imageAgents); err == nil {
			return deliver.Dirs(imageAgents), nil
		}
		return deliver.FindSource(os.Getenv)
	}
	if info, err := os.Stat(f.agents); err != nil || !info.IsDir() {
		return deliver.Source{}, fault.New(fault.Usage, "--agents %q: is no folder", f.agents).
			WithRemedy("Name the folder with the files outrigger-agent-OS-ARCH, as make build makes it.")
	}
	return deliver.Dirs(f.agents), nil
}
