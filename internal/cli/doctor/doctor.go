// Package doctor is outrigger doctor: what works of the way to machines, step by step,
// and what is behind the rest.
package doctor

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
)

// Options are the command's flags.
type Options struct {
	On           string
	Pool         string
	Machine      string
	Create       bool
	Image        string
	InCluster    bool
	Namespace    string
	PodNamespace string
	PodImage     string
	Order        string // a file that says what to look at: in the Pod that another doctor has made
	Cluster      kube.Flags
}

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say step by step what works of the way to machines, and how to mend the rest",
		Long: `Look at a provider and at a machine of it, in this order: the name, the route, the
port, TLS, the version of the API, the token and its end, each permission, the image
and whether hosts have it, the room that is left; then the SSH port, the host key, the
login, sudo, the kind of session, the disk and the clock. What fails is told with its
likely cause and its cure; what needs it is not tried.

--pool takes provider, token and login from a MachinePool and its Secrets. --in-cluster
has a Pod look too, and shows beside each other what is found here and there: the Pod
is made for that and always deleted.

Nothing else is changed and nothing is asked. A machine that is there is looked at;
--create makes one and deletes it afterwards.

The exit code is 125 if a check has failed. With --output json each check is an object
on a line of its own, as it comes.`,
		Example: `  outrigger doctor
  outrigger doctor --on orka --create
  outrigger doctor --pool xcode-16 --in-cluster`,
		Args: app.Args(),
		RunE: app.Run(func(ctx context.Context, _ []string) error { return run(ctx, a, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.On, "on", "", "`provider` to look at (default: the configuration's)")
	f.StringVar(&o.Pool, "pool", "", "`name` of a MachinePool to look at instead")
	f.StringVar(&o.Machine, "machine", "", "`name` of the machine to look at (default: one that is there)")
	f.BoolVar(&o.Create, "create", false, "make a machine to look at, and delete it afterwards")
	f.StringVar(&o.Image, "image", "", "`image` to look for, and to make a machine of (default: the provider's)")
	f.BoolVar(&o.InCluster, "in-cluster", false, "look from inside a Pod too")
	f.StringVar(&o.Namespace, "namespace", "outrigger-system", "the controller's `namespace`, with the Secrets of pools")
	f.StringVar(&o.PodNamespace, "pod-namespace", "", "`namespace` of the Pod, which gets no secrets if it is another (default: the controller's)")
	f.StringVar(&o.PodImage, "pod-image", "", "`image` of the Pod (default: cli, beside the controller's image)")
	f.StringVar(&o.Order, "order", "", "`file` that says what to look at")
	_ = f.MarkHidden("order") // it exists: it was added above
	o.Cluster.Add(f)
	app.ProviderIsOn(cmd)
	a.CompleteFlag(cmd, "on", a.CompleteProviders)
	a.CompleteFlag(cmd, "machine", a.CompleteMachines)
	return cmd
}

// check says what does not go together.
func (o Options) check() error {
	switch {
	case o.Machine != "" && o.Create:
		return fault.New(fault.Usage, "doctor: --machine and --create: want one of them")
	case o.Pool != "" && o.On != "":
		return fault.New(fault.Usage, "doctor: --pool and --on: want one of them")
	case o.Pool != "" && o.Create:
		return fault.New(fault.Usage, "doctor: --create: the machines of a pool are made by its controller").
			WithRemedy("A pool whose warm is 0 has a machine while something claims one. Without, what is about machines is skipped.")
	case o.PodNamespace != "" && !o.InCluster, o.PodImage != "" && !o.InCluster:
		return fault.New(fault.Usage, "doctor: --pod-namespace and --pod-image belong to --in-cluster, which is missing")
	}
	return nil
}

func run(ctx context.Context, a *app.App, o Options) error {
	if o.Order != "" {
		return carry(ctx, a, o.Order)
	}
	if err := o.check(); err != nil {
		return err
	}
	v := visit{app: a, o: o}
	var err error
	if o.Pool != "" || o.InCluster {
		if v.kube, err = o.Cluster.Open(); err != nil {
			return err
		}
	}
	if o.Pool != "" {
		err = v.ofPool(ctx)
	} else {
		err = v.ofProvider(ctx)
	}
	if err != nil {
		return err
	}
	if k := v.patient.Kind; o.InCluster && o.Pool == "" && (k == doctor.Local || k == doctor.QEMU) {
		return fault.New(fault.Usage, "doctor: --in-cluster: machines of provider %s are on this computer, which Pods are not meant to reach", v.patient.Name)
	}
	v.out = newSheet(a, v.patient)
	v.examine(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return v.out.end()
}

// A visit is one call of the command.
type visit struct {
	app  *app.App
	o    Options
	kube *kube.Client // nil: no cluster is asked
	out  *sheet

	patient look.Patient
	// choose returns the machines to look at, or says why there is none.
	choose func(context.Context) ([]look.Subject, string)
	// notHere says why nothing is to be seen from here: "" if it is.
	notHere string
}

// examine looks at the place, then at what machines there are; from here, then from a Pod.
func (v *visit) examine(ctx context.Context) {
	if v.o.InCluster {
		v.out.beside(v.o.podNamespace())
	}
	var place []doctor.Result
	if v.notHere != "" {
		v.patient.Nothing(v.notHere, v.out.add)
	} else {
		place = v.patient.Place(ctx, v.out.add)
	}
	var subjects []look.Subject
	var why string
	switch first := firstFailed(place); {
	case ctx.Err() != nil:
		return
	case first != "" && v.o.Pool == "": // a pool's machines are known to the cluster
		why = "not tried: " + first + " has failed"
	case v.o.Create:
		m, err := v.create(ctx)
		if err != nil {
			why = "not tried: create has failed"
			break
		}
		defer m.giveBack(ctx, v.out)
		subjects = []look.Subject{m.subject}
	default:
		subjects, why = v.choose(ctx)
	}
	here := slices.Clone(subjects)
	for i := range here {
		here[i].Left = v.notHere
	}
	v.patient.Machines(ctx, here, v.out.add)
	if len(subjects) == 0 && ctx.Err() == nil {
		v.patient.NoMachine(why, v.out.add)
	}
	if v.o.InCluster && ctx.Err() == nil {
		v.inCluster(ctx, subjects, why)
	}
}

// firstFailed names the first check that has failed and that machines cannot do without.
func firstFailed(all []doctor.Result) string {
	for _, r := range all {
		if r.State == doctor.Failed && !slices.Contains([]string{"nodes", "disk-here"}, r.Check) {
			return r.Check
		}
	}
	return ""
}

// podNamespace is where the Pod is made.
func (o Options) podNamespace() string {
	if o.PodNamespace != "" {
		return o.PodNamespace
	}
	return o.Namespace
}
