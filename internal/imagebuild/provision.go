package imagebuild

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/parcel"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// folder is where all that a build needs is, below its lease's folder on the machine.
const folder = "build"

// leaseSlack is how much longer the lease lives than the script may run, and unbounded how long
// it lives when the script has no limit: it ends with the build, well or not.
const (
	leaseSlack = time.Hour
	unbounded  = 7 * 24 * time.Hour
)

// Provision makes a machine that answers into what the recipe says: its files are put there,
// its script is run with what it says written to out, and nothing of Outrigger is left. The
// disk is in step with it (sync) when this returns. A script that fails is a fault of kind
// ScriptFailed with a [ScriptError] in it; everything is then left as it was, to be looked at.
//
// A broken connection does not end the script, which is found again. So is one whose
// Provision was killed, if that is called again while the script runs or before anybody has heard
// of its end; later the script is run again.
func Provision(ctx context.Context, ep machine.Endpoint, o Options, r Recipe, out io.Writer) error {
	o = o.withDefaults()
	if err := r.Check(); err != nil {
		return err
	}
	o.stage(Boot)
	h, err := host.Dial(ctx, host.Config{Endpoint: ep, Agents: o.Agents, Reach: o.Reach, Boot: o.Boot, Log: o.Log})
	if err != nil {
		return err
	}
	defer h.Close()
	return provision(ctx, h, ep.Root, o, r, out)
}

func provision(ctx context.Context, h *host.Host, root string, o Options, r Recipe, out io.Writer) error {
	v := &visit{host: h, o: o, lease: "image-" + r.digest()[:digestLen]}
	if err := v.begin(ctx); err != nil {
		return err
	}
	cmd, err := unixCommand(r.Script, r.Shell)
	if v.windows() {
		cmd, err = windowsCommand(r.Script, r.Shell)
	}
	if err != nil {
		return err
	}
	o.stage(Copy)
	if err := v.send(ctx, cmd, r); err != nil {
		return err
	}
	o.stage(Run)
	if err := v.script(ctx, cmd, out); err != nil {
		return err
	}
	o.stage(Clean)
	return v.clean(ctx, root)
}

// A visit is one Provision on its machine.
type visit struct {
	host  *host.Host
	o     Options
	lease string

	info wire.Info
	dir  string // the build's folder on the machine, with forward slashes
}

func (v *visit) windows() bool { return v.info.Platform.OS == "windows" }

// begin has the agent put in place, asks it what the machine is, and takes the lease.
func (v *visit) begin(ctx context.Context) error {
	v.o.stage(Deliver)
	life := unbounded
	if v.o.Timeout > 0 {
		life = v.o.Timeout + leaseSlack
	}
	var lease wire.Lease
	err := v.persist(ctx, func(ctx context.Context) error {
		if err := v.host.Call(ctx, wire.MethodInfo, wire.InfoRequest{}, &v.info); err != nil {
			return err
		}
		return v.host.Call(ctx, wire.MethodLeaseAcquire, wire.LeaseAcquire{
			Name: v.lease, Owner: "image build", Expires: time.Now().Add(life), Note: v.o.Note,
		}, &lease)
	})
	v.dir = strings.ReplaceAll(lease.Dir, `\`, "/") + "/" + folder
	return err
}

// send brings everything to the build's folder, and the recipe's files from there to their places.
func (v *visit) send(ctx context.Context, cmd command, r Recipe) error {
	files := append(helpers(v.windows()), parcel.Content{Name: cmd.script, Mode: 0o700, Data: cmd.content})
	put := v.placing(r)
	files = append(files, put.files...)
	err := v.persist(ctx, func(ctx context.Context) error {
		conn, err := v.host.Open(ctx, host.Serve, func(c *wire.Conn) error {
			return c.SendRequest(parcel.MethodUnpack, parcel.Request{Name: strings.TrimSuffix(v.dir, "/"+folder)})
		})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = parcel.PutContents(ctx, conn, folder, files, parcel.Options{Side: fault.LocalFile})
		return err
	})
	if err != nil || len(r.Files) == 0 {
		return err
	}
	var said tail
	exit, err := v.run(ctx, "place", put.argv, &said)
	if err != nil {
		return err
	}
	if exit.Code != 0 || exit.Signal != "" {
		return fault.New(fault.RemoteFile, "files of the image: %s", oneLine(said.String())).
			WithRemedy("The machine's user must be able to write there; else give a path such as /tmp/NAME, and have the script move it with sudo.")
	}
	return nil
}

// script runs it, and finds out where it failed.
func (v *visit) script(ctx context.Context, cmd command, out io.Writer) error {
	var said tail
	exit, err := v.run(ctx, "script", cmd.argv(v.dir), io.MultiWriter(&said, out))
	if err != nil || exit.Code == 0 && exit.Signal == "" {
		return err
	}
	code := exit.Code
	if exit.Signal != "" {
		code = fault.ExitSignal + exit.SigNum
	}
	trace, err := v.trace(ctx)
	if err != nil { // the line is missing, and the failure is one all the same
		v.o.Log.Info("trace of the script", "cause", err)
	}
	return blame(trace, v.dir+"/"+cmd.script, cmd.content, code, said.String()).fault()
}

// trace fetches what the helper has written down, and removes it: the next attempt writes its own.
func (v *visit) trace(ctx context.Context) ([]byte, error) {
	argv := []string{"sh", "-c", `if [ -f "$1" ]; then tail -c 65536 "$1"; rm -f "$1"; fi`, "sh", v.dir + "/" + traceName}
	if v.windows() {
		name := strings.ReplaceAll(v.dir+"/"+traceName, "/", `\`)
		argv = []string{"cmd.exe", "/c", "type", name, "&", "del", name}
	}
	var b bytes.Buffer
	_, err := v.run(ctx, "trace", argv, &b)
	return b.Bytes()[:min(b.Len(), maxTrace)], err
}

// run executes something on the machine, in the user's home folder. What it writes to both of
// its outputs goes to out.
func (v *visit) run(ctx context.Context, id string, argv []string, out io.Writer) (runclient.Exit, error) {
	spec := wire.RunSpec{RunID: id, Lease: v.lease, Argv: argv, Dir: v.info.Home, Absence: v.o.Absence}
	if id == "script" {
		spec.Timeout = v.o.Timeout
	}
	return runclient.Run(ctx, func(ctx context.Context) (*wire.Conn, error) { return v.host.Open(ctx, host.Connect, nil) }, spec,
		runclient.Streams{Out: out, Err: out},
		runclient.Options{Log: v.o.Log, Resume: true, Lost: v.o.Lost, Back: v.o.Back, Warn: v.o.Warn})
}

// The waits between attempts to get back, as those of package relay.
const (
	redialFirst = 200 * time.Millisecond
	redialMost  = 10 * time.Second
)

// persist repeats op, which must bear it, while the connection is what fails, for as long as
// the machine may be away.
func (v *visit) persist(ctx context.Context, op func(context.Context) error) error {
	var lost time.Time
	for wait := redialFirst; ; wait = min(wait*2, redialMost) {
		err := op(ctx)
		if err == nil && !lost.IsZero() && v.o.Back != nil {
			v.o.Back()
		}
		if err == nil || ctx.Err() != nil || !broken(err) {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
			if v.o.Lost != nil {
				v.o.Lost(err)
			}
		}
		if time.Since(lost) > v.o.Absence {
			return fault.New(fault.MachineLost, "the machine is gone: no way back within %s: %w", v.o.Absence, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		}
	}
}

// broken tells an error of the connection from one that would come again: the first has no kind
// of its own, or says that nobody answers.
func broken(err error) bool {
	var f *fault.Error
	return !errors.As(err, &f) || f.Kind == fault.Unreachable || f.Kind == fault.MachineLost
}

// maxTail is how much of a script's output its error carries.
const maxTail = 4 << 10

// A tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements [io.Writer].
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - maxTail; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(strings.TrimSpace(string(t.b)), "?")
}
