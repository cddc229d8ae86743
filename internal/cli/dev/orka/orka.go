// Package orka is outrigger dev orka.
package orka

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/fault"
)

// The kinds of machines that there are.
const (
	local = "local"
	qemu  = "qemu"
)

type options struct {
	devorka.Config
	machines string
	role     string
	tokenTTL time.Duration
	faults   []string
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	o := &options{Config: devorka.Config{Listen: "127.0.0.1:0", Hosts: 1, HostCPUs: 8, HostMemoryGiB: 32, Speed: 60}, machines: local, role: access.Admin}
	cmd := &cobra.Command{
		Use:   "orka",
		Short: "Serve a MacStadium Orka 3 cluster to try against",
		Long: `Serve a MacStadium Orka 3 cluster for those who have none: both doors of its API,
REST and Kubernetes, with Orka's scheduling, times, errors and tokens. Each VM is
a real machine with a real SSH server behind a mapped port. VMs run this system and
not macOS.

The machines are folders of this computer (local: quick, isolates nothing) or
virtual machines (qemu). Who logs in to a local one runs commands as you, so its user
admin has a new password each time, which is shown and in a file; --password admin is
for clients that know no other than that of MacStadium's images, which qemu has.

The cluster ends with the command and leaves nothing; with --state its images, tokens
and certificates are there the next time.

Things go wrong on demand: --fault, or POST /dev/faults while it runs.`,
		Example: `  outrigger dev orka
  outrigger dev orka --hosts 4 --speed 1 --listen 127.0.0.1:8080
  outrigger dev orka --fault '{"kind": "lost", "method": "POST", "rate": 0.2}'`,
		Args: app.Args(),
		RunE: app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	o.add(cmd.Flags())
	a.CompleteFlag(cmd, "machines", cobra.FixedCompletions([]string{local, qemu}, cobra.ShellCompDirectiveNoFileComp))
	a.CompleteFlag(cmd, "role", cobra.FixedCompletions(append(slices.Clone(access.Roles), "none"), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *options) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.Listen, "listen", o.Listen, "`address` of the REST door")
	fs.StringVar(&o.KubeListen, "kube-listen", "", "`address` of the Kubernetes door (default: the same host, any port)")
	fs.StringSliceVar(&o.Addresses, "address", nil, "`IP` of a node, at which the ports of its VMs are (default: loopback addresses)")
	fs.StringSliceVar(&o.Names, "name", nil, "further host `name` that the certificate of the Kubernetes door is good for; the first is its apiDomain (default: localhost)")
	fs.IntVar(&o.Hosts, "hosts", o.Hosts, "how many Apple silicon nodes there are; each runs two VMs")
	fs.IntVar(&o.IntelHosts, "intel-hosts", 0, "how many Intel nodes there are")
	fs.IntVar(&o.HostCPUs, "host-cpus", o.HostCPUs, "cores of a node")
	fs.Float64Var(&o.HostMemoryGiB, "host-memory", o.HostMemoryGiB, "memory of a node in `GiB`")
	fs.StringSliceVar(&o.Images, "image", nil, "`name` or OCI reference of an image that there is (default: MacStadium's)")
	fs.BoolVar(&o.Bridge, "bridge", false, "bridge networking: each VM has an address of its own")
	fs.StringVar(&o.machines, "machines", o.machines, "`kind` of machines behind the VMs: local or qemu")
	fs.StringVar(&o.Password, "password", "", "`password` of admin on local machines (default: a new one each time)")
	fs.StringVar(&o.State, "state", "", "`folder` that keeps images, tokens and certificates (default: none is kept)")
	fs.Float64Var(&o.Speed, "speed", o.Speed, "how many `times` as fast as documented; 1: an image that is new to a node takes 4 minutes")
	fs.DurationVar(&o.DeployTimeout, "deploy-timeout", 10*time.Minute, "how long a deploy may take that gives no timeout itself")
	fs.BoolVar(&o.Doubts.DropFailed, "drop-failed", false, "delete VMs that have failed, as clusters on premises do")
	fs.StringVar(&o.role, "role", o.role, "`role` of the token: "+strings.Join(access.Roles, ", ")+" or none")
	fs.DurationVar(&o.tokenTTL, "token-ttl", 8760*time.Hour, "how long the token is good")
	fs.DurationVar(&o.Ahead, "ahead", 0, "how far the cluster's clock is ahead of this computer's; negative: behind")
	fs.StringArrayVar(&o.faults, "fault", nil, "`JSON` of something that goes wrong from the start")
	fs.Uint64Var(&o.Seed, "seed", 1, "`number` that decides what happens by chance")
}

// check finds mistakes before anything is started.
func (o *options) check() ([]inject.Fault, error) {
	switch {
	case o.machines != local && o.machines != qemu:
		return nil, fault.New(fault.Usage, "dev orka: --machines %q: want %s or %s", o.machines, local, qemu)
	case o.Hosts < 0 || o.IntelHosts < 0 || o.Hosts+o.IntelHosts < 1 || o.Hosts+o.IntelHosts > 200:
		return nil, fault.New(fault.Usage, "dev orka: --hosts %d, --intel-hosts %d: want 1 to 200 nodes", o.Hosts, o.IntelHosts)
	case o.Speed <= 0:
		return nil, fault.New(fault.Usage, "dev orka: --speed %g: want more than 0", o.Speed)
	case o.HostCPUs < 1 || o.HostMemoryGiB <= 0:
		return nil, fault.New(fault.Usage, "dev orka: --host-cpus %d, --host-memory %g: want more than 0", o.HostCPUs, o.HostMemoryGiB)
	case o.machines == qemu && o.Password != "":
		return nil, fault.New(fault.Usage, "dev orka: --password: virtual machines have that of their image, %s", machines.Password)
	case o.tokenTTL <= 0 || o.DeployTimeout <= 0:
		return nil, fault.New(fault.Usage, "dev orka: --token-ttl %s, --deploy-timeout %s: want more than 0", o.tokenTTL, o.DeployTimeout)
	case o.role != "none" && !slices.Contains(access.Roles, o.role):
		return nil, fault.New(fault.Usage, "dev orka: --role %q%s", o.role, app.DidYouMean(o.role, append(slices.Clone(access.Roles), "none")))
	}
	var faults []inject.Fault
	for _, text := range o.faults {
		var f inject.Fault
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return nil, fault.New(fault.Usage, "dev orka: --fault %s: %w", text, err).
				WithRemedy(`Write it as in: --fault '{"kind": "slow", "delay": "2s"}'`)
		}
		if err := f.Check(); err != nil {
			return nil, fault.New(fault.Usage, "dev orka: --fault %s: %w", text, err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

func run(ctx context.Context, a *app.App, o *options) (err error) {
	faults, err := o.check()
	if err != nil {
		return err
	}
	if o.Hosts == 0 {
		o.Hosts = -1 // none, and not the default
	}
	o.Log = a.Log()
	if o.machines == qemu {
		dirs, err := a.Dirs()
		if err != nil {
			return err
		}
		o.Machines = func(dir string, log *slog.Logger) (machines.Place, error) {
			return machines.NewQemu(dir, dirs.State, log)
		}
	}
	if o.machines == local {
		o.protect(a)
	}
	s, err := devorka.Start(o.Config)
	if err != nil {
		return wrap(err)
	}
	defer func() {
		if closed := s.Close(); err == nil {
			err = wrap(closed)
		}
	}()
	for _, f := range faults {
		if _, err := s.Faults().Add(f); err != nil {
			return wrap(err)
		}
	}
	role := o.role
	if role == "none" {
		role = ""
	}
	token, err := s.Token(devorka.Grant{Role: role, TTL: o.tokenTTL})
	if err != nil {
		return wrap(err)
	}
	files, err := s.ClientFiles(token)
	if err != nil {
		return wrap(err)
	}
	if err := show(a, s, o, token, files); err != nil {
		return err
	}
	<-ctx.Done()
	return nil // it was asked to end, and it has done what it is for
}

// protect keeps other users of this computer, and of its network, from running
// commands as this one.
func (o *options) protect(a *app.App) {
	if o.Password == "" {
		o.Password = rand.Text()
	}
	if o.Password == machines.Password {
		a.IO.Say("whoever reaches the VMs' ports, other users of this computer too, runs commands as you: their password is known to everybody")
	}
}

func wrap(err error) error {
	if err == nil || fault.Of(err) != fault.Internal {
		return err
	}
	return fault.New(fault.ProviderDown, "dev orka: %w", err)
}

// shown is what --output json prints.
type shown struct {
	Endpoint   string              `json:"endpoint"`
	Kubernetes string              `json:"kubernetes"`
	Token      string              `json:"token"`
	Role       string              `json:"role"`
	Password   string              `json:"password"`
	Expires    time.Time           `json:"expires"`
	Files      devorka.ClientFiles `json:"files"`
}

func show(a *app.App, s *devorka.Server, o *options, token string, files devorka.ClientFiles) error {
	v := shown{s.Endpoint(), s.KubeEndpoint(), token, o.role, cmp.Or(o.Password, machines.Password), a.IO.Now().Add(o.Ahead + o.tokenTTL).UTC().Truncate(time.Second), files}
	if a.JSON() {
		return table.Value(a.IO.Out, v)
	}
	_, err := fmt.Fprintf(a.IO.Out, `Orka REST API:    %s/api/v1
Kubernetes API:   %s
Token:            %s
                  %s until %s, also in %s
Login of VMs:     %s, password %s, also in %s

Configuration of Outrigger, also in %s:

%s
Try it from another terminal:

  outrigger run --config %s -- uname -a
  kubectl --kubeconfig %s get vms
  curl -H "Authorization: Bearer $(cat %s)" %s/api/v1/namespaces/orka-default/vms

Ctrl-C ends it and every VM.
`, v.Endpoint, v.Kubernetes, token, o.role, v.Expires.Format(time.RFC3339), files.Token, machines.User, v.Password, files.Password,
		files.Config, files.ConfigText(),
		files.Config, files.Kubeconfig, files.Token, v.Endpoint)
	return err
}
